"""Deposits over HTTP: what is stored, what is refused, and that a refusal leaves nothing behind."""

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
from backups.tests.conftest import BODY, DATABASE, sha256
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
    """Status, code and the field that is named, of a refusal that says nothing of what was sent."""
    body = answer.json()
    return (answer.status_code, body["code"], *(error["field"] for error in body.get("errors", [])))


# --- Stored ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "name"),
    [("database", NAME), ("database", "compta_db.sql.zst"), ("log", "OPERATION_20250612_1300_PC-1.json"), ("database", "-.gz"),
     ("database", "x" * 201 + ".gz"), ("log", "20250612_130005_PC-1.json"), ("log", "2025-06-12_13-00-05_pc-1.json"), ("database", "compta_db.dump")],
)  # fmt: skip
def test_it_is_stored_in_the_folder_of_the_machine(put, root, area, name):
    answer = put(name, area=area)
    assert answer.status_code == 201
    assert answer.json() == {"status": "stored", "name": name, "size": len(BODY), "sha256": sha256(BODY)}
    assert files(root) == [f"PC-1/{area}/{name}"]
    assert (root / "PC-1" / area / name).read_bytes() == BODY


def test_only_the_portals_own_user_may_read_it(put, root):
    put()
    assert stat.S_IMODE((root / "PC-1/database" / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "PC-1/database").stat().st_mode) == 0o700


def test_the_next_one_takes_its_place(put, root):
    put()
    assert put(body=b"another").status_code == 201
    assert (root / "PC-1/database" / NAME).read_bytes() == b"another"
    assert len(files(root)) == 1


def test_an_empty_file_is_a_file(put, root):
    assert put(body=b"").json()["size"] == 0
    assert (root / "PC-1/database" / NAME).read_bytes() == b""


def test_the_hash_may_be_written_in_capitals(put):
    answer = put(headers={"X-Content-SHA256": sha256(BODY).upper()})
    assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(BODY))


def test_what_the_body_calls_itself_does_not_matter(put, root):
    for name in ("application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert put(body=b"a=1&b=2", headers={"Content-Type": name, "Content-Encoding": "gzip"}).status_code == 201
    assert (root / "PC-1/database" / NAME).read_bytes() == b"a=1&b=2"


def test_djangos_own_limit_of_bodies_is_not_asked(put, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5
    assert put().status_code == 201


def test_one_of_exactly_the_limit_is_stored(put, settings):
    settings.DEPOSIT_MAX_BYTES = len(BODY)
    assert put().status_code == 201
    report_of_a_mebibyte = b" " * report.LARGEST
    assert put("OPERATION_20250612_1300_PC-1.json", report_of_a_mebibyte, area="log").status_code == 201


def test_a_fresh_machine_costs_one_query_and_no_audit(put, django_assert_num_queries):
    put()
    before = AuditEvent.objects.count()
    with django_assert_num_queries(1):
        assert put().status_code == 201
    assert AuditEvent.objects.count() == before


# --- Refused ---------------------------------------------------------------------------------------------------------

NAMES = [
    "..", ".", ".hidden.gz", "%2e%2e", "%2e%2e%5cx.gz", "x", "x.json", "x.sql", "x.gz.part", "x.GZ", ".gz", "x.gz ", "%20x.gz", "x%20y.gz",
    "x%00.gz", "x.gz%00", "x.gz%0A", "%0Ax.gz", "x%0D%0Ay.gz", "db_%EF%BC%91.gz", "%D9%A1.gz", "%C3%A9.gz", "%FF.gz", "e%CC%81.gz", "x%7F.gz",
    "x" * 300 + ".gz", "x" * 202 + ".gz", "~x.gz", "x;y.gz", "x%252Fy.gz", "C%3A%5Cx.gz", "x%E2%80%AE.gz",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_plain_is_refused_by_its_field(put, root, name):
    answer = put(name)
    assert refused(answer) == (400, "validation_failed", "name")
    assert everything(root) == []


@pytest.mark.parametrize(
    "name",
    ["x.gz", "x.zst", "x", "..", ".x.json", "x.JSON", "x.json%0A", "x" * 202 + ".json", "STATUS.json", "OPERATION_20250612_1300_PC-2.json",
     "OPERATION_20251312_1300_PC-1.json", "20250612_1300_PC-1.json"],
)  # fmt: skip
def test_report_name_that_no_scan_reads_is_refused(put, root, name):
    assert refused(put(name, area="log")) == (400, "validation_failed", "name")
    assert everything(root) == []


@pytest.mark.parametrize(
    ("area", "name"),
    [("database", "%2e%2e%2fx.gz"), ("database", "../x.gz"), ("..", NAME), ("%2e%2e", NAME), ("other", NAME), ("Database", NAME), ("database%00", NAME),
     ("database", "a/b.gz"), ("%2fdatabase", NAME), ("database/..", NAME)],
)  # fmt: skip
def test_no_other_folder_is_an_address(put, root, area, name):
    assert refused(put(name, area=area)) == (404, "not_found")
    assert everything(root) == []


@pytest.mark.parametrize(
    "value", [None, "", "x", "0" * 63, "0" * 65, "g" * 64, "0" * 63 + "\u00b2", f"{'0' * 64},{'0' * 64}"]
)
def test_a_hash_that_is_missing_or_none_is_named(put, root, value):
    assert refused(put(headers={"X-Content-SHA256": value})) == (400, "validation_failed", "X-Content-SHA256")
    assert everything(root) == []


def test_another_hash_is_told_and_the_file_before_it_stays(put, root):
    put()
    assert refused(put(body=b"other", headers={"X-Content-SHA256": sha256(BODY)})) == (400, "checksum_mismatch")
    assert files(root) == [f"PC-1/database/{NAME}"]
    assert (root / "PC-1/database" / NAME).read_bytes() == BODY


@pytest.mark.parametrize("length", ["", "x", "-1", "+5", "5.0", "0x5", "\u0665", " 5", "1" * 21])
def test_a_length_that_is_none_is_a_mismatch(put, root, length):
    assert refused(put(CONTENT_LENGTH=length)) == (400, "length_mismatch")
    assert everything(root) == []


def test_a_body_in_chunks_has_no_length(put, root):
    answer = put(**{"CONTENT_LENGTH": "", "wsgi.input_terminated": True})
    assert refused(answer) == (400, "length_mismatch")


class Endless:
    """A body that never ends, and knows how much of it was read."""

    def __init__(self):
        self.given = 0

    def read(self, size):
        self.given += size
        return b"x" * size

    readline = read


@pytest.mark.parametrize(
    ("area", "name", "limit"), [("database", NAME, 2**40), ("log", "OPERATION_20250612_1300_PC-1.json", report.LARGEST)]
)
def test_one_over_the_limit_is_refused_before_it_is_read(put, root, area, name, limit):
    body = Endless()
    answer = put(name, area=area, CONTENT_LENGTH=str(limit + 1), **{"wsgi.input": body})
    assert refused(answer) == (413, "body_too_large")
    assert str(limit) in answer.json()["detail"]
    assert body.given == 0
    assert everything(root) == []


@pytest.mark.parametrize("kind", ["enroll", "client", "staff"])
def test_machines_alone_deposit(put, root, kind):
    token = issue_token(kind, user=User.objects.create_superuser("alice") if kind == "staff" else None)[1]
    assert refused(put(token=token)) == (403, "insufficient_scope")
    assert everything(root) == []


def test_without_a_token_or_with_that_of_an_uninstalled_machine_nothing_is_stored(put, root, agent, rf):
    assert refused(put(headers={"Authorization": None})) == (401, "not_authenticated")
    uninstall_machine(agent.machine_id, "", None, rf.post("/"))
    assert refused(put()) == (401, "token_revoked")
    assert everything(root) == []


def test_nothing_but_put_is_answered(call, agent_token):
    answer = call("POST", f"backups/deposits/database/{NAME}", agent_token)
    assert (answer.status_code, "PUT" in answer.headers["Allow"]) == (405, True)


# --- Two machines, one folder ----------------------------------------------------------------------------------------

TWO = [("a:b", "a_b"), ("a_b", "a:b"), ("a:b_c", "a_b:c"), ("x" + ":y" * 20, "x" + "_y" * 20)]


@pytest.mark.parametrize(("first", "second"), TWO)
def test_a_folder_belongs_to_the_machine_enrolled_first(put, root, make_agent, first, second):
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


def test_it_stays_with_the_first_when_that_one_is_reactivated(put, make_agent):
    first, second = make_agent("a:b", status="uninstalled"), make_agent("a_b")
    assert put(token=issue_agent_token(second)).status_code == 403
    first.status, first.enrolled_at = "active", timezone.now() + timedelta(days=1)
    first.save()
    assert put(token=issue_agent_token(first)).status_code == 201


def test_an_id_with_such_a_character_costs_one_query_more(put, make_agent, django_assert_num_queries):
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


def test_a_root_that_is_not_there_is_not_made(put, root, caplog):
    root.rmdir()
    assert is_told_to_wait(put(), deposits.ROOT_ABSENT)
    assert not root.exists()
    assert [record.levelno for record in caplog.records if record.name == "vigie.backups"] == [logging.ERROR]
    assert str(root) not in caplog.text


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_read(put, root, settings):
    settings.DEPOSIT_MAX_BYTES, body = 2**60, Endless()
    assert is_told_to_wait(put(CONTENT_LENGTH=str(2**60), **{"wsgi.input": body}), deposits.FULL)
    assert body.given == 0
    assert files(root) == []


def test_a_store_that_does_not_tell_its_size_is_tried(put, monkeypatch):
    class Unknown:
        f_blocks = f_bavail = f_frsize = 0

    monkeypatch.setattr(os, "fstatvfs", lambda folder: Unknown)
    assert put().status_code == 201


FAILURES = [("write_all", errno.ENOSPC, "FULL"), ("write_all", errno.EDQUOT, "FULL"), ("write_all", errno.EIO, "UNWRITTEN"),
            ("os.fsync", errno.ENOSPC, "FULL"), ("os.fsync", errno.EINVAL, "UNWRITTEN"), ("os.replace", errno.EIO, "UNWRITTEN"),
            ("os.open", errno.EROFS, "UNWRITTEN")]  # fmt: skip


@pytest.mark.parametrize(("function", "number", "sentence"), FAILURES)
def test_a_disk_that_fails_leaves_what_was_there(put, root, monkeypatch, function, number, sentence):
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
def test_a_share_that_cannot_sync_folders_is_good_enough_and_one_that_fails_is_not(put, monkeypatch, number, status):
    put()
    real = os.fsync

    def fail_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    assert put().status_code == status


def test_it_is_on_disk_before_it_has_its_name_and_so_is_its_name(put, root, monkeypatch):
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
def test_what_is_no_folder_is_not_followed(put, root, tmp_path, place, obstacle):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / place).parent.mkdir(exist_ok=True)
    obstacle(root / place, elsewhere)
    assert is_told_to_wait(put(), deposits.UNUSABLE)
    assert everything(elsewhere) == []


def test_a_folder_in_the_place_of_the_file_stays(put, root):
    (root / "PC-1/database" / NAME).mkdir(parents=True)
    assert is_told_to_wait(put(), deposits.UNUSABLE)
    assert everything(root) == ["PC-1", "PC-1/database", f"PC-1/database/{NAME}"]


@pytest.mark.parametrize("obstacle", [link, pipe])
def test_what_stands_under_the_name_is_replaced_unopened(put, root, tmp_path, obstacle):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (root / "PC-1/database").mkdir(parents=True)
    obstacle(root / "PC-1/database" / NAME, victim)
    assert put().status_code == 201
    assert victim.read_bytes() == b"untouched"
    assert not (root / "PC-1/database" / NAME).is_symlink()
    assert (root / "PC-1/database" / NAME).read_bytes() == BODY


def test_the_root_itself_may_be_a_link(put, root, tmp_path, settings):
    settings.DEPOSITS_ROOT = tmp_path / "mounted"
    settings.DEPOSITS_ROOT.symlink_to(root)
    assert put().status_code == 201
    assert files(root) == [f"PC-1/database/{NAME}"]


# --- Interrupted -----------------------------------------------------------------------------------------------------


class BreaksOff:
    """A body of which a part comes."""

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
def test_a_body_that_breaks_off_leaves_nothing(put, root, error, caplog):
    assert refused(put(CONTENT_LENGTH="100", **{"wsgi.input": BreaksOff(error)})) == (400, "length_mismatch")
    assert files(root) == []
    assert "a deposit failed" not in caplog.text


def test_a_worker_that_is_ended_meanwhile_leaves_nothing(root, agent):
    body = BreaksOff(SystemExit())
    with pytest.raises(SystemExit):
        deposits.receive(deposits.Deposit("database", NAME, 100, sha256(BODY)), agent, body)
    assert files(root) == []


def part(name, letter="a"):
    return f".{name}.{letter * 16}.part"


def test_parts_that_a_kill_left_are_swept_after_a_day(put, root, tmp_path):
    folder = root / "PC-1/database"
    folder.mkdir(parents=True)
    day_ago = time.time() - deposits.LEFT_AFTER_SECONDS
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


def test_the_parts_of_another_folder_are_left_to_it(put, root):
    (root / "PC-1/log").mkdir(parents=True)
    (root / "PC-1/log" / part("x.json")).write_bytes(b"")
    os.utime(root / "PC-1/log" / part("x.json"), (0, 0))
    put()
    assert len(files(root)) == 2


def test_a_part_has_a_name_that_the_sweep_knows_and_no_scan_reads():
    assert deposits.PART.fullmatch(part(NAME))
    assert not deposits.AREAS["database"].is_name(part(NAME), "PC-1")
    assert not deposits.REPORT_NAME.fullmatch(part(NAME))


class Connection:
    """A connection of the web server, of which a part of the body has arrived or all of it."""

    def __init__(self, is_left_to_view):
        self.incoming = SimpleNamespace(is_left_to_view=is_left_to_view)
        self.pauses = []

    def await_body(self, longest_pause):
        self.pauses.append(longest_pause)


@pytest.mark.parametrize(
    ("is_left", "token", "pauses"), [(True, {}, [60.0]), (False, {}, []), (True, {"token": "x"}, [])]
)
def test_body_is_waited_for_only_when_incomplete_and_accepted(put, is_left, token, pauses):
    connection = Connection(is_left)
    put(**{"gunicorn.socket": connection}, **token)
    assert connection.pauses == pauses


@pytest.mark.parametrize(("others", "is_own"), [(deposits.MOST_AWAITED, False), (1, True)])
def test_large_deposit_beside_too_many_or_one_of_the_same_machine_is_told_to_come_later(put, root, others, is_own):
    waiting = {Agent.objects.get().pk if is_own else -number for number in range(others)}
    deposits.AWAITED.update(waiting)
    try:
        answer = put(**{"gunicorn.socket": Connection(is_left_to_view=True)})
        assert is_told_to_wait(answer, deposits.BUSY)
        assert put(**{"gunicorn.socket": Connection(is_left_to_view=False)}).status_code == 201
    finally:
        deposits.AWAITED.difference_update(waiting)
    assert put(**{"gunicorn.socket": Connection(is_left_to_view=True)}).status_code == 201
    assert not deposits.AWAITED
