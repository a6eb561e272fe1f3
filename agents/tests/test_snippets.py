"""Scripts that enrol a machine: each keeps the token off the command line and off the page."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.utils import timezone

from agents import enrolment
from agents.approval import ALLOWED_FOR
from agents.enrolment import issue_agent_token
from agents.models import Agent, EnrolmentRequest
from agents.snippets import enrolment_guide, enrolment_snippets
from client.tests.helpers.machine_names import MACHINE_NAMES
from portal.access.tokens import credential
from portal.models import ApiToken

pytestmark = pytest.mark.django_db
NAMES = [name for _, name in MACHINE_NAMES]
PASCAL = Path(__file__).with_name("inno.pas")


@pytest.fixture
def snippets():
    return {snippet.file_name: snippet.text for snippet in enrolment_snippets()}


def test_snippets_have_urls_of_this_portal_and_no_token(snippets, settings):
    for text in snippets.values():
        assert f"{settings.PORTAL_URL}/api/v1/agents/enroll" in text
        assert not credential.TOKEN_IN_TEXT.search(text)
        assert "{{" not in text
        assert "{%" not in text


def test_guide_names_the_commands_that_run_the_scripts_and_shows_the_short_one_first():
    guide = enrolment_guide("enroll")
    assert guide.snippets[0].file_name == "enrol.sh"
    assert "sudo sh enrol.sh" in guide.text
    assert "-File enrol.ps1" in guide.text


def test_inno_sets_all_four_timeouts_and_deletes_the_file(snippets):
    text = snippets["inno.iss"]
    assert "SetTimeouts(Patience, Patience, Patience, Patience)" in text
    assert "if Result then DeleteFile(TokenFile)" in text
    assert '{#SetupSetting("AppVersion")}' in text
    assert text.isascii()


def test_powershell_asks_for_tls_and_sends_bytes(snippets):
    assert "Tls12" in snippets["enrol.ps1"]
    assert "GetBytes($body)" in snippets["enrol.ps1"]


def test_other_kinds_of_tokens_have_no_snippets():
    assert enrolment_guide("client") is None


# --- One rule for machine names --------------------------------------------------------------------------------------


def test_shell_names_a_machine_by_the_rule(snippets):
    (function,) = re.findall(r"^machine_name\(\) .*$", snippets["enrol.sh"], re.MULTILINE)
    loop = 'for host in "$@"; do echo "$(printf "%s\\n" "$host" | machine_name)"; done'
    shell = ["sh", "-c", f"LC_ALL=C; export LC_ALL\n{function}\n{loop}", "sh", *(host for host, _ in MACHINE_NAMES)]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == NAMES


def test_powershell_names_a_machine_by_the_rule(snippets):
    """Apply the replacements of the script in Python; the rest of the function cuts to 128."""
    (first, second) = re.findall(r"-creplace '([^']*)', '(-?)'", snippets["enrol.ps1"])
    assert [re.sub(*second, re.sub(*first, host))[:128] for host, _ in MACHINE_NAMES] == NAMES


def pascal_functions(text):
    """Return the functions of the snippet that Free Pascal can run."""
    names = "JsonText|JsonValue|ReadText|ReadToken|MachineName"
    return "\n".join(re.findall(rf"^function (?:{names})\(.*?^end;$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.skipif(shutil.which("fpc") is None, reason="needs Free Pascal")
def test_inno_names_a_machine_by_the_rule_and_reads_every_encoding(snippets, tmp_path):
    source = PASCAL.read_text().replace("{FUNCTIONS}", pascal_functions(snippets["inno.iss"]))
    (tmp_path / "inno.pas").write_text(source)
    subprocess.run(["fpc", "-v0", "inno.pas"], cwd=tmp_path, check=True, capture_output=True)
    token = str(credential.mint_token("agent"))
    files = []
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        files.append(tmp_path / encoding)
        files[-1].write_text(json.dumps({"machine_id": "PC-1", "api_token": token}) + "\r\n", encoding)
    hosts = "".join(f"{host}\n" for host, _ in MACHINE_NAMES)
    done = subprocess.run(
        [tmp_path / "inno", *files], input=hosts, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:-1] == [f"PC-1 {token}"] * 3 + NAMES


# --- The shell script, run -------------------------------------------------------------------------------------------


class Script:
    """The `sh` script in its own folder, with its state."""

    def __init__(self, text, folder):
        self.path, self.token_file, self.state = folder / "enrol.sh", folder / "enrol.token", folder / "state"
        self.path.write_text(text)
        self.state.mkdir()

    def run(self, token="", encoding="utf-8"):
        if token:
            self.token_file.write_bytes(f"{token}\r\n".encode(encoding))
        environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "VIGIE_STATE": str(self.state)}
        command = ["sh", str(self.path), str(self.token_file)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def stored(self):
        return json.loads((self.state / "token.json").read_text())


@pytest.fixture
def script(snippets, live_server, settings, tmp_path):
    return Script(snippets["enrol.sh"].replace(settings.PORTAL_URL, live_server.url), tmp_path)


def use(token):
    ApiToken.objects.filter(key=credential.parse_token(token).key).update(last_used_at=timezone.now())


def test_shell_script_enrols_renews_and_repairs(script, enroll_token):
    first = script.run(enroll_token, "utf-16")
    assert first.returncode == 0, first.stderr
    token = script.stored["api_token"]
    assert credential.parse_token(token).kind == "agent"
    assert (script.state / "token.json").stat().st_mode & 0o077 == 0
    assert [path.name for path in script.state.iterdir()] == ["token.json"]
    assert not script.token_file.exists()
    use(token)
    (script.state / "token.json").chmod(0o640)

    renewed = script.run()
    assert renewed.returncode == 0, renewed.stderr
    assert script.stored["api_token"] != token
    assert script.stored["machine_id"] == Agent.objects.get().machine_id
    assert (script.state / "token.json").stat().st_mode & 0o777 == 0o640

    enrolment.uninstall_machine(Agent.objects.get().machine_id, "", None, None)
    assert script.run().returncode == 1
    repaired = script.run(enroll_token, "utf-8-sig")
    assert repaired.returncode == 0, repaired.stderr
    assert Agent.objects.get().is_active


def test_shell_script_keeps_the_name_of_a_computer_that_was_renamed(script, make_agent, enroll_token):
    agent = make_agent("Name-Of-Before", status="uninstalled")
    (script.state / "token.json").write_text(json.dumps({"machine_id": "Name-Of-Before", "api_token": "vigie_agent_x"}))
    assert script.run(enroll_token).returncode == 0
    agent.refresh_from_db()
    assert (agent.is_active, script.stored["machine_id"]) == (True, "Name-Of-Before")


def test_shell_script_takes_over_the_token_of_an_earlier_version(script, make_agent):
    (script.state / "agent.token").write_text(issue_agent_token(make_agent("PC-1")))
    done = script.run()
    assert done.returncode == 0, done.stderr
    assert script.stored["machine_id"] == "PC-1"
    assert not (script.state / "agent.token").exists()


def test_refused_shell_script_says_why_and_nothing_of_the_user(script, enroll_token):
    assert script.run(enroll_token).returncode == 0
    use(script.stored["api_token"])
    Agent.objects.update(user_name="Alice Martin", user_email="alice@example.org")
    (script.state / "token.json").unlink()
    refused = script.run(enroll_token)
    assert refused.returncode == 1
    assert "agent_already_active: Uninstall it first" in refused.stderr
    assert "alice" not in (refused.stdout + refused.stderr).lower()
    assert script.token_file.exists()


def test_shell_script_waits_for_approval_and_enrols_when_run_again(script, enroll_token, settings):
    settings.ENROLMENT_APPROVAL = "always"
    refused = script.run(enroll_token)
    assert refused.returncode == 1
    assert "approval_required: Ask an operator" in refused.stderr
    EnrolmentRequest.objects.update(allowed_until=timezone.now() + ALLOWED_FOR)
    assert script.run().returncode == 0
    assert script.stored["machine_id"] == Agent.objects.get().machine_id


def test_inno_script_says_that_an_operator_must_approve(snippets):
    assert "if Refusal = 'approval_required' then" in snippets["inno.iss"]
