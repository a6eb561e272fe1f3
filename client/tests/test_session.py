from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from vigie_client import make_session

ELSEWHERE = "/elsewhere"


def test_it_follows_no_redirect_with_the_token(portal: Any, answer: Any, token: str) -> None:
    portal.answer_with("/here", answer(307, {}, {"Location": portal.url.replace("127.0.0.1", "localhost") + ELSEWHERE}))
    assert make_session(token).post(portal.url + "/here", json={}).status_code == 307
    assert portal.sent_to(ELSEWHERE) == []


def test_it_sends_its_own_token_whatever_netrc_holds(
    portal: Any, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    make_session(token).post(portal.url, json={"run_id": "a"})
    assert portal.requests[0][1]["Authorization"] == f"Bearer {token}"


def test_it_takes_proxies_from_the_environment(token: str) -> None:
    assert make_session(token).trust_env is True


@pytest.mark.parametrize("bad", ["", "  ", "two words", "line\nbreak", "é", "a" * 513, None, 3])
def test_it_refuses_what_cannot_be_a_token_without_repeating_it(bad: Any) -> None:
    with pytest.raises(ValueError) as caught:
        make_session(bad)
    assert not bad or not str(bad).strip() or str(bad) not in str(caught.value)


def test_it_tolerates_the_line_end_of_a_token_file(token: str) -> None:
    request = requests.Request("POST", "http://portal").prepare()
    session = make_session(token + "\r\n")
    assert callable(session.auth)
    assert session.auth(request).headers["Authorization"] == f"Bearer {token}"


def test_it_shows_no_token(token: str) -> None:
    session = make_session(token)
    assert token not in repr(session) + repr(session.auth) + repr(session.headers)
