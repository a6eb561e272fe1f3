from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from vigie_client import Credentials, PortalError, TokenStore, default_machine_id, enroll, rotate_token, uninstall

ENROLL = "/api/v1/agents/enroll"
ROTATE = "/api/v1/agents/token/rotate"
UNINSTALL = "/api/v1/agents/uninstall"


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "state")


@pytest.fixture
def enrolled(portal: Any, answer: Any) -> Any:
    """Makes the portal enrol whoever asks, giving `vigie_agent_new`; returns the answer."""
    reply = answer(201, {"status": "enrolled", "machine_id": "pc", "api_token": "vigie_agent_new", "agent": {"x": 1}})
    portal.answer_with(ENROLL, reply)
    return reply


def test_it_enrols_and_keeps_the_token(portal: Any, enrolled: Any, store: TokenStore) -> None:
    enrolment = enroll(portal.url, "vigie_enroll_x", "pc", store=store, user_name="Zoé", version="1.4")
    assert (enrolment.status, enrolment.agent) == ("enrolled", {"x": 1})
    assert store.load() == enrolment.credentials == Credentials("pc", "vigie_agent_new")
    (_, headers, body) = portal.requests[0]
    assert headers["Authorization"] == "Bearer vigie_enroll_x"
    assert len(body.pop("enrollment_id")) == 32
    assert body == {"machine_id": "pc", "user_name": "Zoé", "version": "1.4", "allow_reactivate": True}


@pytest.mark.parametrize("lost", [503, 500, 409, 201])
def test_it_asks_again_under_the_same_enrollment_id(
    portal: Any, enrolled: Any, answer: Any, store: TokenStore, lost: int
) -> None:
    portal.answer_with(ENROLL, answer(lost, {"code": "agent_already_active"}), enrolled)
    with pytest.raises(PortalError):
        enroll(portal.url, "t", store=store)
    enroll(portal.url, "t", store=store)
    first, second = portal.sent_to(ENROLL)
    assert first == second


def test_it_has_its_enrollment_id_on_disk_before_it_asks(portal: Any, enrolled: Any, store: TokenStore) -> None:
    on_disk = []

    def look(_: Any) -> Any:
        on_disk.append(json.loads((Path(store.directory) / "enrolment.json").read_text())["enrollment_id"])
        return enrolled

    portal.answer_with(ENROLL, look)
    enroll(portal.url, "t", store=store)
    assert on_disk == [portal.sent_to(ENROLL)[0]["enrollment_id"]]


def test_it_enrols_anew_under_a_new_id_once_it_had_a_token(portal: Any, enrolled: Any, store: TokenStore) -> None:
    for _ in range(2):
        enroll(portal.url, "t", store=store)
    first, second = (body["enrollment_id"] for body in portal.sent_to(ENROLL))
    assert first != second


def test_it_takes_a_new_id_for_another_machine(portal: Any, answer: Any, store: TokenStore) -> None:
    portal.answer_with(ENROLL, answer(503, {}))
    for machine_id in ("a", "b"):
        with pytest.raises(PortalError):
            enroll(portal.url, "t", machine_id, store=store)
    first, second = portal.sent_to(ENROLL)
    assert first["enrollment_id"] != second["enrollment_id"]


@pytest.mark.parametrize("stored", ["", "[]", "{}", "garbage"])
def test_it_survives_a_damaged_attempt(portal: Any, enrolled: Any, store: TokenStore, stored: str) -> None:
    Path(store.directory).mkdir()
    (Path(store.directory) / "enrolment.json").write_text(stored)
    enroll(portal.url, "t", store=store)


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [(409, "agent_already_active", True), (401, "token_revoked", True), (429, "throttled", False), (503, None, False)],
)
def test_it_says_why_it_failed_and_whether_to_try_again(
    portal: Any, answer: Any, store: TokenStore, status: int, code: str, permanent: bool
) -> None:
    portal.answer_with(ENROLL, answer(status, {"code": code}, {"Retry-After": "9"}))
    with pytest.raises(PortalError) as caught:
        enroll(portal.url, "vigie_enroll_secret", store=store)
    error = caught.value
    assert (error.status, error.code, error.permanent, error.retry_after) == (status, code, permanent, 9)
    assert "secret" not in repr(error) + str(error)


@pytest.mark.parametrize("body", [b"<html>", [], {}, {"machine_id": "pc"}, {"machine_id": "pc", "api_token": 7}])
def test_it_asks_again_after_an_answer_without_a_token(portal: Any, answer: Any, store: TokenStore, body: Any) -> None:
    portal.answer_with(ENROLL, answer(201, body))
    with pytest.raises(PortalError) as caught:
        enroll(portal.url, "t", store=store)
    assert (caught.value.permanent, store.load()) == (False, None)


def test_it_enrols_one_at_a_time(portal: Any, enrolled: Any, store: TokenStore) -> None:
    """Two programs at once: the second waits, and doesn't spoil the attempt of the first."""
    inside: list[int] = []

    def watch(_: Any) -> Any:
        inside.append(threading.active_count())
        assert (Path(store.directory) / "enrolment.json").exists()
        return enrolled

    portal.answer_with(ENROLL, watch)
    threads = [threading.Thread(target=enroll, args=(portal.url, "t"), kwargs={"store": store}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({body["enrollment_id"] for body in portal.sent_to(ENROLL)}) == 4


def test_it_rotates_its_token(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "old"))
    portal.answer_with(ROTATE, answer(200, {"api_token": "new", "previous_valid_until": "2026-03-11T09:17:40Z"}))
    assert rotate_token(portal.url, store) == "2026-03-11T09:17:40Z"
    assert store.load() == Credentials("pc", "new")
    assert portal.requests[0][1]["Authorization"] == "Bearer old"


def test_it_keeps_its_token_when_the_rotation_fails(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "old"))
    portal.answer_with(ROTATE, answer(200, {}))
    with pytest.raises(PortalError):
        rotate_token(portal.url, store)
    assert store.load() == Credentials("pc", "old")


def test_it_rotates_nothing_unenrolled(portal: Any, store: TokenStore) -> None:
    with pytest.raises(LookupError):
        rotate_token(portal.url, store)


@pytest.mark.parametrize("reply", [(200, {}), (404, {"code": "agent_unknown"}), (401, {"code": "token_revoked"})])
def test_it_uninstalls_and_forgets_its_token(portal: Any, answer: Any, store: TokenStore, reply: Any) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(*reply))
    uninstall(portal.url, store, reason="replaced")
    assert portal.sent_to(UNINSTALL) == [{"machine_id": "pc", "reason": "replaced"}]
    assert store.load() is None


def test_it_uninstalls_twice_without_harm(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(200, {}))
    for _ in range(2):
        uninstall(portal.url, store)
    assert portal.sent_to(UNINSTALL) == [{"machine_id": "pc"}]


def test_it_keeps_its_token_when_the_portal_did_not_hear(portal: Any, answer: Any, store: TokenStore) -> None:
    store.save(Credentials("pc", "t"))
    portal.answer_with(UNINSTALL, answer(503, {}))
    with pytest.raises(PortalError):
        uninstall(portal.url, store)
    assert store.load() == Credentials("pc", "t")


@pytest.mark.parametrize(
    ("host", "machine_id"),
    [
        ("PC-LYON-07", "PC-LYON-07"), ("pc lyon/07", "pc-lyon-07"), ("--pc", "pc"), ("_.:pc", "pc"), ("é-pc", "pc"),
        ("a" * 200, "a" * 128),
    ],
)  # fmt: skip
def test_it_names_the_machine_after_its_host(monkeypatch: pytest.MonkeyPatch, host: str, machine_id: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_machine_id() == machine_id


@pytest.mark.parametrize("host", ["", "日本", "---"])
def test_it_names_a_machine_whose_host_name_says_nothing(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_machine_id().startswith("machine-")
