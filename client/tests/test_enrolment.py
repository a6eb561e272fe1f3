from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from client.tests.helpers.machine_names import MACHINE_NAMES

from vigie_client import Credentials, PortalError, TokenStore, default_machine_id, enroll, rotate_token, uninstall
from vigie_client.contract import MACHINE_ID

ENROLL = "/api/v1/agents/enroll"
ROTATE = "/api/v1/agents/token/rotate"
UNINSTALL = "/api/v1/agents/uninstall"


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "state")


@pytest.fixture
def enrolled(portal: Any, answer: Any) -> Any:
    """Let the portal enrol everyone with the token `vigie_agent_new`. Return the answer."""
    reply = answer(201, {"status": "enrolled", "machine_id": "pc", "api_token": "vigie_agent_new", "agent": {"x": 1}})
    portal.answer_with(ENROLL, reply)
    return reply


def test_enrolment_saves_the_token(portal: Any, enrolled: Any, store: TokenStore) -> None:
    enrolment = enroll(portal.url, "vigie_enroll_x", "pc", store=store, user_name="Zoé", version="1.4")
    assert (enrolment.status, enrolment.agent) == ("enrolled", {"x": 1})
    assert store.load() == enrolment.credentials == Credentials("pc", "vigie_agent_new")
    (_, headers, body) = portal.requests[0]
    assert headers["Authorization"] == "Bearer vigie_enroll_x"
    assert len(body.pop("enrollment_id")) == 32
    assert body == {"machine_id": "pc", "user_name": "Zoé", "version": "1.4", "allow_reactivate": True}


@pytest.mark.parametrize("lost", [503, 500, 409, 201])
def test_retry_repeats_the_enrollment_id(portal: Any, enrolled: Any, answer: Any, store: TokenStore, lost: int) -> None:
    portal.answer_with(ENROLL, answer(lost, {"code": "agent_already_active"}), enrolled)
    with pytest.raises(PortalError):
        enroll(portal.url, "t", store=store)
    enroll(portal.url, "t", store=store)
    first, second = portal.sent_to(ENROLL)
    assert first == second


def test_enrolment_without_approval_can_be_repeated(portal: Any, enrolled: Any, answer: Any, store: TokenStore) -> None:
    portal.answer_with(ENROLL, answer(409, {"code": "approval_required", "detail": "Ask an operator."}), enrolled)
    with pytest.raises(PortalError) as refused:
        enroll(portal.url, "t", store=store)
    error = refused.value
    assert (error.code, error.permanent, error.detail) == ("approval_required", False, "Ask an operator.")
    assert enroll(portal.url, "t", store=store).status == "enrolled"
    first, second = portal.sent_to(ENROLL)
    assert first == second


def test_enrollment_id_is_on_disk_before_the_call(portal: Any, enrolled: Any, store: TokenStore) -> None:
    on_disk = []

    def look(_: Any) -> Any:
        on_disk.append(json.loads((Path(store.directory) / "enrolment.json").read_text())["enrollment_id"])
        return enrolled

    portal.answer_with(ENROLL, look)
    enroll(portal.url, "t", store=store)
    assert on_disk == [portal.sent_to(ENROLL)[0]["enrollment_id"]]


def test_enrolled_machine_renews_with_its_own_token(portal: Any, enrolled: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "vigie_agent_old"))
    enrolment = enroll(portal.url, "", store=store, version="2.0")
    assert store.load() == enrolment.credentials == Credentials("pc", "vigie_agent_new")
    (_, headers, body) = portal.requests[0]
    assert (headers["Authorization"], body) == ("Bearer vigie_agent_old", {"version": "2.0"})


@pytest.mark.parametrize("status", [401, 403])
def test_refused_own_token_is_replaced_under_the_stored_name(
    portal: Any, enrolled: Any, answer: Any, store: TokenStore, status: int
) -> None:
    store.save(Credentials("stored-name", "vigie_agent_old"))
    portal.answer_with(ENROLL, answer(status, {"code": "token_revoked"}), enrolled)
    enroll(portal.url, "vigie_enroll_x", store=store)
    tokens = [headers["Authorization"] for _, headers, _ in portal.requests]
    assert tokens == ["Bearer vigie_agent_old", "Bearer vigie_enroll_x"]
    assert portal.sent_to(ENROLL)[1]["machine_id"] == "stored-name"


@pytest.mark.parametrize(("status", "token"), [(503, "vigie_enroll_x"), (401, "")])
def test_own_token_is_kept_after_a_failed_renewal(
    portal: Any, answer: Any, store: TokenStore, status: int, token: str
) -> None:
    store.save(Credentials("pc", "old"))
    portal.answer_with(ENROLL, answer(status, {}))
    with pytest.raises(PortalError):
        enroll(portal.url, token, store=store)
    assert (store.load(), len(portal.requests)) == (Credentials("pc", "old"), 1)


def test_another_machine_id_enrols_another_machine(portal: Any, enrolled: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "old"))
    enroll(portal.url, "vigie_enroll_x", "pc-2", store=store)
    assert [body["machine_id"] for body in portal.sent_to(ENROLL)] == ["pc-2"]


def test_guid_in_braces_is_a_machine_id(portal: Any, enrolled: Any, store: TokenStore) -> None:
    enroll(portal.url, "t", "{0f8fad5b-d9cb-469f-a165-70867728950e}", store=store)
    assert portal.sent_to(ENROLL)[0]["machine_id"] == "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_invalid_description_is_cut_or_left_out(portal: Any, enrolled: Any, store: TokenStore) -> None:
    odd: dict[str, Any] = {
        "hostname": "h\udce9",
        "user_name": "u" * 201,
        "version": "1" * 65,
        "user_email": "e" * 255,
        "os_info": "",
    }
    enroll(portal.url, "t", "pc", store=store, **odd)
    (body,) = portal.sent_to(ENROLL)
    told = {name: value for name, value in body.items() if name in odd}
    assert told == {"hostname": "h", "user_name": "u" * 200, "version": "1" * 64, "os_info": ""}


def test_refusal_has_the_detail_of_the_portal(portal: Any, answer: Any, store: TokenStore) -> None:
    portal.answer_with(ENROLL, answer(409, {"code": "agent_already_active", "detail": "Uninstall\n it first."}))
    with pytest.raises(PortalError) as caught:
        enroll(portal.url, "t", store=store)
    assert caught.value.detail == "Uninstall it first."


def test_another_machine_has_a_new_enrollment_id(portal: Any, answer: Any, store: TokenStore) -> None:
    portal.answer_with(ENROLL, answer(503, {}))
    for machine_id in ("a", "b"):
        with pytest.raises(PortalError):
            enroll(portal.url, "t", machine_id, store=store)
    first, second = portal.sent_to(ENROLL)
    assert first["enrollment_id"] != second["enrollment_id"]


@pytest.mark.parametrize("stored", ["", "[]", "{}", "garbage"])
def test_damaged_attempt_is_replaced(portal: Any, enrolled: Any, store: TokenStore, stored: str) -> None:
    Path(store.directory).mkdir()
    (Path(store.directory) / "enrolment.json").write_text(stored)
    enroll(portal.url, "t", store=store)


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [(409, "agent_already_active", True), (401, "token_revoked", True), (429, "throttled", False), (503, None, False)],
)
def test_error_has_its_code_and_is_permanent_or_not(
    portal: Any, answer: Any, store: TokenStore, status: int, code: str, permanent: bool
) -> None:
    portal.answer_with(ENROLL, answer(status, {"code": code}, {"Retry-After": "9"}))
    with pytest.raises(PortalError) as caught:
        enroll(portal.url, "vigie_enroll_secret", store=store)
    error = caught.value
    assert (error.status, error.code, error.permanent, error.retry_after) == (status, code, permanent, 9)
    assert "secret" not in repr(error) + str(error)


@pytest.mark.parametrize("body", [b"<html>", [], {}, {"machine_id": "pc"}, {"machine_id": "pc", "api_token": 7}])
def test_answer_without_a_token_can_be_retried(portal: Any, answer: Any, store: TokenStore, body: Any) -> None:
    portal.answer_with(ENROLL, answer(201, body))
    with pytest.raises(PortalError) as caught:
        enroll(portal.url, "t", store=store)
    assert (caught.value.permanent, store.load()) == (False, None)


def test_concurrent_enrolments_run_one_after_another(portal: Any, enrolled: Any, store: TokenStore) -> None:
    """The second of two concurrent programs waits and does not damage the attempt of the first."""
    inside: list[int] = []

    def watch(_: Any) -> Any:
        inside.append(threading.active_count())
        assert (Path(store.directory) / "enrolment.json").exists() == (len(inside) == 1)
        return enrolled

    portal.answer_with(ENROLL, watch)
    threads = [threading.Thread(target=enroll, args=(portal.url, "t"), kwargs={"store": store}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = portal.sent_to(ENROLL)
    assert (others, len(first["enrollment_id"])) == ([{}] * 3, 32)


def test_rotation_saves_the_new_token(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "old"))
    portal.answer_with(ROTATE, answer(200, {"api_token": "new", "previous_valid_until": "2026-03-11T09:17:40Z"}))
    assert rotate_token(portal.url, store) == "2026-03-11T09:17:40Z"
    assert store.load() == Credentials("pc", "new")
    assert portal.requests[0][1]["Authorization"] == "Bearer old"


def test_failed_rotation_keeps_the_token(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "old"))
    portal.answer_with(ROTATE, answer(200, {}))
    with pytest.raises(PortalError):
        rotate_token(portal.url, store)
    assert store.load() == Credentials("pc", "old")


def test_rotation_saves_the_machine_id_of_the_answer(portal: Any, answer: Any, store: TokenStore) -> None:
    """An earlier installer stored only the token."""
    Path(store.directory).mkdir()
    (Path(store.directory) / "agent.token").write_text("vigie_agent_old")
    portal.answer_with(ROTATE, answer(200, {"machine_id": "PC-OLD-NAME", "api_token": "new"}))
    rotate_token(portal.url, store)
    assert store.load() == Credentials("PC-OLD-NAME", "new")
    assert not (Path(store.directory) / "agent.token").exists()


def test_rotation_without_enrolment_raises_lookup_error(portal: Any, store: TokenStore) -> None:
    with pytest.raises(LookupError):
        rotate_token(portal.url, store)


@pytest.mark.parametrize(
    "reply", [(200, {"status": "uninstalled"}), (404, {"code": "agent_unknown"}), (401, {"code": "token_revoked"})]
)
def test_uninstall_deletes_the_token(portal: Any, answer: Any, store: TokenStore, reply: Any) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(*reply))
    uninstall(portal.url, store, reason="replaced")
    assert portal.sent_to(UNINSTALL) == [{"reason": "replaced"}]
    assert store.load() is None


def test_uninstall_is_idempotent(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(200, {"status": "uninstalled"}))
    for _ in range(2):
        uninstall(portal.url, store)
    assert portal.sent_to(UNINSTALL) == [{}]


@pytest.mark.parametrize("status", [503, 200])
def test_failed_uninstall_keeps_the_token(portal: Any, answer: Any, store: TokenStore, status: int) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(status, {}))
    with pytest.raises(PortalError):
        uninstall(portal.url, store)
    assert store.load() == Credentials("pc", "t")


@pytest.mark.parametrize(("host", "machine_id"), MACHINE_NAMES)
def test_machine_is_named_after_its_host(monkeypatch: pytest.MonkeyPatch, host: str, machine_id: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    name = default_machine_id()
    assert name == machine_id or (machine_id == "" and name.startswith("machine-"))
    assert re.fullmatch(MACHINE_ID, name)
