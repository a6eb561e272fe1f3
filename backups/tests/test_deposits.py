"""Deposits over HTTP: stored files, refusals, disk errors, obstacles and interruptions."""

import errno
import logging
import os
import stat
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from gunicorn.http.errors import NoMoreData

from agents.enrolment import issue_agent_token, uninstall_machine
from agents.models import Agent
from backups import deposits
from backups.scanner import report
from backups.tests.factories import BODY, DATABASE, sha256
from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db
NAME = f"{DATABASE}.sql.gz"


@pytest.fixture
def root(settings):
    return settings.DEPOSITS_ROOT


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def files(root):
    return [name for name in everything(root) if not (root / name).is_dir()]


def refused(answer):
    """Return status, code and fields of a refusal."""
    body = answer.json()
    return (answer.status_code, body["code"], *(error["field"] for error in body.get("errors", [])))


# --- Stored ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "name"),
    [("database", NAME), ("database", "compta_db.sql.zst"), ("log", "OPERATION_20250612_1300_PC-1.json"), ("database", "-.gz"),
     ("database", "x" * 201 + ".gz"), ("log", "20250612_130005_PC-1.json"), ("log", "2025-06-12_13-00-05_pc-1.json"), ("database", "compta_db.dump")],
)  # fmt: skip
def test_deposit_is_stored_in_the_machines_folder(put, root, area, name):
    answer = put(name, area=area)
    assert answer.status_code == 201
    assert answer.json() == {"status": "stored", "name": name, "size": len(BODY), "sha256": sha256(BODY)}
    assert files(root) == [f"PC-1/{area}/{name}"]
    assert (root / "PC-1" / area / name).read_bytes() == BODY


def test_deposit_is_readable_by_its_owner_alone(put, root):
    put()
    assert stat.S_IMODE((root / "PC-1/database" / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "PC-1/database").stat().st_mode) == 0o700


def test_second_deposit_replaces_the_first(put, root):
    put()
    assert put(body=b"another").status_code == 201
    assert (root / "PC-1/database" / NAME).read_bytes() == b"another"
    assert len(files(root)) == 1


def test_empty_deposit_is_stored(put, root):
    assert put(body=b"").json()["size"] == 0
    assert (root / "PC-1/database" / NAME).read_bytes() == b""


def test_hash_in_capitals_is_accepted(put):
    answer = put(headers={"X-Content-SHA256": sha256(BODY).upper()})
    assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(BODY))


def test_content_type_and_encoding_are_ignored(put, root):
    for name in ("application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert put(body=b"a=1&b=2", headers={"Content-Type": name, "Content-Encoding": "gzip"}).status_code == 201
    assert (root / "PC-1/database" / NAME).read_bytes() == b"a=1&b=2"


def test_upload_limit_of_django_does_not_apply(put, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5
    assert put().status_code == 201


def test_deposit_of_exactly_the_limit_is_stored(put, settings):
    settings.DEPOSIT_MAX_BYTES = len(BODY)
    assert put().status_code == 201
    report_of_a_mebibyte = b" " * report.LARGEST
    assert put("OPERATION_20250612_1300_PC-1.json", report_of_a_mebibyte, area="log").status_code == 201


def test_deposit_takes_one_query_and_no_audit_event(put, django_assert_num_queries):
    put()
    before = AuditEvent.objects.count()
    with django_assert_num_queries(1):
        assert put().status_code == 201
    assert AuditEvent.objects.count() == before


# --- Refused ---------------------------------------------------------------------------------------------------------

NAMES = [
    "..", ".hidden.gz", "%2e%2e%5cx.gz", "x", "x.json", "x.gz.part", "x.GZ", ".gz", "x.gz ", "x%20y.gz", "x.gz%00", "x.gz%0A",
    "db_%EF%BC%91.gz", "%C3%A9.gz", "%FF.gz", "x" * 202 + ".gz", "~x.gz", "x%252Fy.gz", "x%E2%80%AE.gz",
]  # fmt: skip


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("name", NAMES)
def test_name_that_is_not_plain_is_refused_by_its_field(put, root, name):
    answer = put(name)
    assert refused(answer) == (400, "validation_failed", "name")
    assert everything(root) == []


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "name",
    ["x.gz", "x", ".x.json", "x.JSON", "x.json%0A", "x" * 202 + ".json", "STATUS.json", "OPERATION_20250612_1300_PC-2.json",
     "OPERATION_20251312_1300_PC-1.json", "20250612_1300_PC-1.json"],
)  # fmt: skip
def test_report_name_that_no_scan_reads_is_refused(put, root, name):
    assert refused(put(name, area="log")) == (400, "validation_failed", "name")
    assert everything(root) == []


@pytest.mark.parametrize(
    ("area", "name"),
    [("database", "../x.gz"), ("..", NAME), ("other", NAME), ("Database", NAME), ("database%00", NAME), ("database", "a/b.gz")],
)  # fmt: skip
def test_unknown_area_or_nested_path_is_not_found(put, root, area, name):
    assert refused(put(name, area=area)) == (404, "not_found")
    assert everything(root) == []


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("value", [None, "", "0" * 63, "g" * 64, "0" * 63 + "\u00b2"])
def test_missing_or_invalid_hash_is_refused_by_its_field(put, root, value):
    assert refused(put(headers={"X-Content-SHA256": value})) == (400, "validation_failed", "X-Content-SHA256")
    assert everything(root) == []


def test_checksum_mismatch_keeps_the_previous_file(put, root):
    put()
    assert refused(put(body=b"other", headers={"X-Content-SHA256": sha256(BODY)})) == (400, "checksum_mismatch")
    assert files(root) == [f"PC-1/database/{NAME}"]
    assert (root / "PC-1/database" / NAME).read_bytes() == BODY


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("length", ["", "-1", "+5", "5.0", "\u0665", "1" * 21])
def test_invalid_content_length_is_a_length_mismatch(put, root, length):
    assert refused(put(CONTENT_LENGTH=length)) == (400, "length_mismatch")
    assert everything(root) == []


def test_chunked_body_is_a_length_mismatch(put, root):
    answer = put(**{"CONTENT_LENGTH": "", "wsgi.input_terminated": True})
    assert refused(answer) == (400, "length_mismatch")


class Endless:
    """A body without end that counts what is read of it."""

    def __init__(self):
        self.given = 0

    def read(self, size):
        self.given += size
        return b"x" * size

    readline = read


@pytest.mark.parametrize(
    ("area", "name", "limit"), [("database", NAME, 2**40), ("log", "OPERATION_20250612_1300_PC-1.json", report.LARGEST)]
)
def test_deposit_over_the_limit_is_refused_unread(put, root, area, name, limit):
    body = Endless()
    answer = put(name, area=area, CONTENT_LENGTH=str(limit + 1), **{"wsgi.input": body})
    assert refused(answer) == (413, "body_too_large")
    assert str(limit) in answer.json()["detail"]
    assert body.given == 0
    assert everything(root) == []


@pytest.mark.parametrize("kind", ["enroll", "client", "staff"])
def test_tokens_of_other_kinds_are_refused(put, root, kind):
    token = issue_token(kind, user=User.objects.create_superuser("alice") if kind == "staff" else None)[1]
    assert refused(put(token=token)) == (403, "insufficient_scope")
    assert everything(root) == []


def test_missing_and_revoked_tokens_are_refused(put, root, agent, rf):
    assert refused(put(headers={"Authorization": None})) == (401, "not_authenticated")
    uninstall_machine(agent.machine_id, "", None, rf.post("/"))
    assert refused(put()) == (401, "token_revoked")
    assert everything(root) == []


def test_other_methods_are_not_allowed(call, agent_token):
    answer = call("POST", f"backups/deposits/database/{NAME}", agent_token)
    assert (answer.status_code, "PUT" in answer.headers["Allow"]) == (405, True)


# --- Two machines, one folder ----------------------------------------------------------------------------------------

TWO = [("a:b", "a_b"), ("a_b", "a:b"), ("a:b_c", "a_b:c"), ("x" + ":y" * 20, "x" + "_y" * 20)]


@pytest.mark.parametrize(("first", "second"), TWO)
def test_shared_folder_belongs_to_the_machine_enrolled_first(put, root, make_agent, first, second):
    for other in ("a.b", "aXb", "x" + "_y" * 19):
        make_agent(other)
    tokens = [issue_agent_token(make_agent(name)) for name in (first, second)]
    assert put(token=tokens[0]).status_code == 201
    answer = put(token=tokens[1], body=b"a stranger's")
    assert refused(answer) == (403, "machine_mismatch")
    assert first not in answer.content.decode()
    (file,) = files(root)
    assert (root / file).read_bytes() == BODY
    assert AuditEvent.objects.get(action="refused.machine_mismatch").subject == f"agent:{second}"


def test_shared_folder_stays_with_a_reactivated_first_machine(put, make_agent):
    first, second = make_agent("a:b", status="uninstalled"), make_agent("a_b")
    assert put(token=issue_agent_token(second)).status_code == 403
    first.status, first.enrolled_at = "active", timezone.now() + timedelta(days=1)
    first.save()
    assert put(token=issue_agent_token(first)).status_code == 201


def test_id_that_may_share_a_folder_takes_one_more_query(put, make_agent, django_assert_num_queries):
    token = issue_agent_token(make_agent("agent_douala_prod_01"))
    put(token=token)
    with django_assert_num_queries(2):
        assert put(token=token).status_code == 201


# --- The disk --------------------------------------------------------------------------------------------------------


def is_told_to_wait(answer, sentence):
    assert refused(answer) == (503, "disk_full" if sentence == deposits.FULL else "not_ready")
    assert answer.json()["detail"] == sentence
    assert int(answer.headers["Retry-After"]) > 0
    return True


def test_missing_root_is_not_created(put, root, caplog):
    root.rmdir()
    assert is_told_to_wait(put(), deposits.ROOT_ABSENT)
    assert not root.exists()
    assert [record.levelno for record in caplog.records if record.name == "vigie.backups"] == [logging.ERROR]
    assert str(root) not in caplog.text


def test_deposit_beyond_free_space_is_refused_unread(put, root, settings):
    settings.DEPOSIT_MAX_BYTES, body = 2**60, Endless()
    assert is_told_to_wait(put(CONTENT_LENGTH=str(2**60), **{"wsgi.input": body}), deposits.FULL)
    assert body.given == 0
    assert files(root) == []


def test_deposit_that_would_use_the_reserve_is_refused(put, root, settings):
    settings.DISK_RESERVE_MIB = 2**40
    assert is_told_to_wait(put(), deposits.FULL)
    assert files(root) == []


def test_store_without_a_reported_size_is_used(put, monkeypatch):
    class Unknown:
        f_blocks = f_bavail = f_frsize = 0

    monkeypatch.setattr(os, "fstatvfs", lambda folder: Unknown)
    assert put().status_code == 201


FAILURES = [("write_all", errno.ENOSPC, "FULL"), ("write_all", errno.EDQUOT, "FULL"), ("write_all", errno.EIO, "UNWRITTEN"),
            ("os.fsync", errno.ENOSPC, "FULL"), ("os.replace", errno.EIO, "UNWRITTEN"), ("os.open", errno.EROFS, "UNWRITTEN")]  # fmt: skip


@pytest.mark.parametrize(("function", "number", "sentence"), FAILURES)
def test_disk_error_keeps_the_previous_file(put, root, monkeypatch, function, number, sentence):
    put()

    def fail(*args, **kwargs):
        raise OSError(number, "secret detail")

    with monkeypatch.context() as patched:
        if function == "os.open":
            patched.setattr(deposits, "WRITE_FLAGS", os.O_WRONLY | os.O_EXCL)  # the part is not made
        else:
            patched.setattr(f"backups.deposits.{function}", fail)
        answer = put(body=b"another")
    assert is_told_to_wait(answer, getattr(deposits, sentence))
    assert "secret" not in answer.content.decode()
    assert files(root) == [f"PC-1/database/{NAME}"]
    assert (root / "PC-1/database" / NAME).read_bytes() == BODY


@pytest.mark.parametrize(("number", "status"), [(errno.EINVAL, 201), (errno.ENOTSUP, 201), (errno.EIO, 503)])
def test_folder_sync_may_be_unsupported_but_not_fail(put, monkeypatch, number, status):
    put()
    real = os.fsync

    def fail_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    assert put().status_code == status


def test_file_and_rename_are_synced_in_order(put, root, monkeypatch):
    put()  # and with it the folders
    steps = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(*args, **kwargs):
        steps.append("rename")
        real_replace(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    assert put().status_code == 201
    assert steps == ["file", "rename", "folder"]


# --- Links and other things in the way -------------------------------------------------------------------------------


def link(path, elsewhere):
    path.symlink_to(elsewhere, target_is_directory=True)


def pipe(path, elsewhere):
    os.mkfifo(path)


def plain_file(path, elsewhere):
    path.write_bytes(b"in the way")


@pytest.mark.parametrize("place", ["PC-1", "PC-1/database"])
@pytest.mark.parametrize("obstacle", [link, pipe, plain_file])
def test_obstacle_in_place_of_a_folder_is_not_followed(put, root, tmp_path, place, obstacle):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / place).parent.mkdir(exist_ok=True)
    obstacle(root / place, elsewhere)
    assert is_told_to_wait(put(), deposits.UNUSABLE)
    assert everything(elsewhere) == []


def test_folder_in_place_of_the_file_is_kept(put, root):
    (root / "PC-1/database" / NAME).mkdir(parents=True)
    assert is_told_to_wait(put(), deposits.UNUSABLE)
    assert everything(root) == ["PC-1", "PC-1/database", f"PC-1/database/{NAME}"]


@pytest.mark.parametrize("obstacle", [link, pipe])
def test_obstacle_in_place_of_the_file_is_replaced_unopened(put, root, tmp_path, obstacle):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (root / "PC-1/database").mkdir(parents=True)
    obstacle(root / "PC-1/database" / NAME, victim)
    assert put().status_code == 201
    assert victim.read_bytes() == b"untouched"
    assert not (root / "PC-1/database" / NAME).is_symlink()
    assert (root / "PC-1/database" / NAME).read_bytes() == BODY


def test_root_may_be_a_link(put, root, tmp_path, settings):
    settings.DEPOSITS_ROOT = tmp_path / "mounted"
    settings.DEPOSITS_ROOT.symlink_to(root)
    assert put().status_code == 201
    assert files(root) == [f"PC-1/database/{NAME}"]


# --- Interrupted -----------------------------------------------------------------------------------------------------


class BreaksOff:
    """A body that breaks off after its first part."""

    def __init__(self, error):
        self.chunks = [b"a part"]
        self.error = error

    def read(self, size):
        if self.chunks:
            return self.chunks.pop()
        if self.error is None:
            return b""
        raise self.error

    readline = read


@pytest.mark.parametrize("error", [None, OSError("reset"), TimeoutError(), NoMoreData(b""), ValueError()])
def test_interrupted_body_leaves_nothing(put, root, error, caplog):
    assert refused(put(CONTENT_LENGTH="100", **{"wsgi.input": BreaksOff(error)})) == (400, "length_mismatch")
    assert files(root) == []
    assert "a deposit failed" not in caplog.text


def test_ended_worker_leaves_nothing(root, agent):
    body = BreaksOff(SystemExit())
    with pytest.raises(SystemExit):
        deposits.store_deposit(deposits.Deposit("database", NAME, 100, sha256(BODY)), agent, body)
    assert files(root) == []


def part(name, letter="a"):
    return f".{name}.{letter * 16}.part"


def test_abandoned_parts_are_removed_after_a_day(put, root, tmp_path):
    folder = root / "PC-1/database"
    folder.mkdir(parents=True)
    day_ago = time.time() - deposits.ABANDONED_AFTER_SECONDS
    left, going_on = part("x.gz"), part("y.gz", "b")
    others = [".x.gz.part", f"x.gz.{'a' * 16}.part", "notes.txt", ".nfs0001", part("x.gz", "A")]
    for name in [left, going_on, *others]:
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (day_ago - 60, day_ago - 60))
    os.utime(folder / going_on, (day_ago - 60, day_ago + 600))
    (folder / part("link.gz")).symlink_to(tmp_path)
    os.utime(folder / part("link.gz"), (0, 0), follow_symlinks=False)
    assert put().status_code == 201
    assert set(os.listdir(folder)) == {going_on, NAME, part("link.gz"), *others}


def test_parts_of_another_folder_are_kept(put, root):
    (root / "PC-1/log").mkdir(parents=True)
    (root / "PC-1/log" / part("x.json")).write_bytes(b"")
    os.utime(root / "PC-1/log" / part("x.json"), (0, 0))
    put()
    assert len(files(root)) == 2


def test_part_name_is_recognized_and_never_scanned():
    assert deposits.PART.fullmatch(part(NAME))
    assert not deposits.AREAS["database"].is_name(part(NAME), "PC-1")
    assert not deposits.REPORT_NAME.fullmatch(part(NAME))


class Connection:
    """A connection of the web server with a complete or incomplete body."""

    def __init__(self, is_left_to_view):
        self.incoming = SimpleNamespace(is_left_to_view=is_left_to_view)
        self.pauses = []

    def await_body(self, longest_pause):
        self.pauses.append(longest_pause)


@pytest.mark.parametrize(
    ("is_left", "token", "pauses"), [(True, {}, [60.0]), (False, {}, []), (True, {"token": "x"}, [])]
)
def test_only_an_incomplete_accepted_body_is_awaited(put, is_left, token, pauses):
    connection = Connection(is_left)
    put(**{"gunicorn.socket": connection}, **token)
    assert connection.pauses == pauses


@pytest.mark.parametrize(("others", "is_own"), [(deposits.MAX_AWAITED, False), (1, True)])
def test_deposit_beyond_the_awaited_limit_is_told_to_retry(put, root, others, is_own):
    waiting = {Agent.objects.get().pk if is_own else -number for number in range(others)}
    deposits.MACHINES_AWAITED.update(waiting)
    try:
        answer = put(**{"gunicorn.socket": Connection(is_left_to_view=True)})
        assert is_told_to_wait(answer, deposits.BUSY)
        assert put(**{"gunicorn.socket": Connection(is_left_to_view=False)}).status_code == 201
    finally:
        deposits.MACHINES_AWAITED.difference_update(waiting)
    assert put(**{"gunicorn.socket": Connection(is_left_to_view=True)}).status_code == 201
    assert not deposits.MACHINES_AWAITED
