"""Scripts that enrol a machine: each keeps the token off the command line and off the page."""

import subprocess

import pytest
from django.utils import timezone

from agents.guides import enrolment_guide, enrolment_snippets
from portal import tokens
from portal.issuing import issue
from portal.models import ApiToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def snippets():
    return {snippet.file_name: snippet.text for snippet in enrolment_snippets()}


def test_they_name_the_calls_of_this_portal_and_hold_no_token(snippets, settings):
    for text in snippets.values():
        assert f"{settings.PORTAL_URL}/api/v1/agents/enroll" in text
        assert not tokens.TOKEN_IN_TEXT.search(text)
        assert "{{" not in text
        assert "{%" not in text


def test_inno_sets_all_four_timeouts_and_deletes_the_file(snippets):
    text = snippets["inno.iss"]
    assert "SetTimeouts(Patience, Patience, Patience, Patience)" in text
    assert "if Result then DeleteFile(TokenFile)" in text
    assert '{#SetupSetting("AppVersion")}' in text
    assert text.isascii()


def test_powershell_asks_for_tls_and_sends_bytes(snippets):
    assert "Tls12" in snippets["enrol.ps1"]
    assert "GetBytes($body)" in snippets["enrol.ps1"]


def test_the_shell_script_is_valid_and_enrols(snippets, live_server, settings, tmp_path):
    plain = issue("enroll", label="x")[1]
    script, token_file, state = tmp_path / "enrol.sh", tmp_path / "enrol.token", tmp_path / "state"
    script.write_text(snippets["enrol.sh"].replace(settings.PORTAL_URL, live_server.url))
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "VIGIE_STATE": str(state)}

    def run():
        token_file.write_text(f"{plain}\r\n")
        return subprocess.run(
            ["sh", str(script), str(token_file)], env=environment, capture_output=True, text=True, check=False
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert tokens.parse((state / "agent.token").read_text().strip()).kind == "agent"
    assert (state / "agent.token").stat().st_mode & 0o077 == 0
    assert not token_file.exists()
    ApiToken.objects.filter(kind="agent").update(last_used_at=timezone.now())
    second = run()
    assert second.returncode == 1
    assert "agent_already_active" in second.stderr
    assert token_file.exists()


def test_tokens_of_other_kinds_have_no_use_for_them():
    assert enrolment_guide("client") is None
