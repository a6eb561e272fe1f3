"""The `sh` script that enrols a machine, run against a portal."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from django.utils import timezone

from agents import enrolment
from agents.approval import ALLOWED_FOR
from agents.enrolment import issue_agent_token
from agents.models import Agent, EnrolmentRequest
from agents.snippets import machine_scripts
from portal.access.tokens import credential
from portal.models import ApiToken
from portal.tests.helpers.programs import require

pytestmark = pytest.mark.django_db


@pytest.fixture
def scripts(settings):
    return machine_scripts(settings.PORTAL_URL)


class Script:
    """The `sh` script in its own folder, with its state and its folder for cron."""

    def __init__(self, text, folder):
        require(shutil.which("curl"), "curl", "curl")
        self.path, self.token_file, self.state = folder / "vigie.sh", folder / "enrol.token", folder / "state"
        self.cron, self.commands = folder / "cron.d", folder / "bin"
        self.path.write_text(text)
        self.state.mkdir(mode=0o700)
        self.cron.mkdir()
        self.commands.mkdir()
        (self.commands / "cron").symlink_to("/bin/true")
        self.environment = {
            "PATH": f"{self.commands}:/usr/bin:/bin:/usr/local/bin",
            "VIGIE_STATE": str(self.state),
            "VIGIE_CRON": str(self.cron),
        }

    def enrol(self, token="", encoding="utf-8"):
        if token:
            self.token_file.write_bytes(f"{token}\r\n".encode(encoding))
        return self.run("enrol", self.token_file)

    def run(self, *arguments):
        command = ["sh", str(self.path), *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.path.parent, env=self.environment, capture_output=True, text=True, check=False
        )

    @property
    def stored(self):
        return json.loads((self.state / "token.json").read_text())

    @property
    def scheduled(self):
        """Return the command that cron runs."""
        return (self.cron / "vigie").read_text().splitlines()[-1].split(" root ", 1)[1]


@pytest.fixture
def script(scripts, live_server, settings, tmp_path):
    return Script(scripts["vigie.sh"].replace(settings.PORTAL_URL, live_server.url), tmp_path)


def use(token):
    ApiToken.objects.filter(key=credential.parse_token(token).key).update(last_used_at=timezone.now())


def test_shell_script_enrols_renews_and_repairs(script, enroll_token):
    first = script.enrol(enroll_token, "utf-16")
    assert first.returncode == 0, first.stderr
    token = script.stored["api_token"]
    assert credential.parse_token(token).kind == "agent"
    assert (script.state / "token.json").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in script.state.iterdir()) == ["token.json", "vigie.sh"]
    assert not script.token_file.exists()
    use(token)
    (script.state / "token.json").chmod(0o640)

    renewed = script.enrol()
    assert renewed.returncode == 0, renewed.stderr
    assert script.stored["api_token"] != token
    assert script.stored["machine_id"] == Agent.objects.get().machine_id
    assert (script.state / "token.json").stat().st_mode & 0o777 == 0o640

    enrolment.uninstall_machine(Agent.objects.get().machine_id, "", None, None)
    assert script.enrol().returncode == 1
    repaired = script.enrol(enroll_token, "utf-8-sig")
    assert repaired.returncode == 0, repaired.stderr
    assert Agent.objects.get().is_active


def test_shell_script_keeps_the_name_of_a_computer_that_was_renamed(script, make_agent, enroll_token):
    agent = make_agent("Name-Of-Before", status="uninstalled")
    (script.state / "token.json").write_text(json.dumps({"machine_id": "Name-Of-Before", "api_token": "vigie_agent_x"}))
    assert script.enrol(enroll_token).returncode == 0
    agent.refresh_from_db()
    assert (agent.is_active, script.stored["machine_id"]) == (True, "Name-Of-Before")


def test_shell_script_takes_over_the_token_of_an_earlier_version(script, make_agent):
    (script.state / "agent.token").write_text(issue_agent_token(make_agent("PC-1")))
    done = script.enrol()
    assert done.returncode == 0, done.stderr
    assert script.stored["machine_id"] == "PC-1"
    assert not (script.state / "agent.token").exists()


def test_refused_shell_script_says_why_and_nothing_of_the_user(script, enroll_token):
    assert script.enrol(enroll_token).returncode == 0
    use(script.stored["api_token"])
    Agent.objects.update(user_name="Alice Martin", user_email="alice@example.org")
    (script.state / "token.json").unlink()
    refused = script.enrol(enroll_token)
    assert refused.returncode == 1
    assert "agent_already_active: Uninstall it first" in refused.stderr
    assert "alice" not in (refused.stdout + refused.stderr).lower()
    assert script.token_file.exists()


def test_shell_script_waits_for_approval_and_enrols_when_run_again(script, enroll_token, settings):
    settings.ENROLMENT_APPROVAL = "always"
    refused = script.enrol(enroll_token)
    assert refused.returncode == 1
    assert "approval_required: Ask an operator" in refused.stderr
    EnrolmentRequest.objects.update(allowed_until=timezone.now() + ALLOWED_FOR)
    assert script.enrol().returncode == 0
    assert script.stored["machine_id"] == Agent.objects.get().machine_id


def test_cron_sends_the_heartbeats_of_an_enrolled_machine(script, enroll_token):
    script.enrol(enroll_token)
    Agent.objects.update(os_info="")
    script.path.unlink()  # cron runs the copy in the state folder
    subprocess.run(["sh", "-c", script.scheduled], check=True)
    assert "has the heartbeat" in (script.state / "heartbeat.log").read_text()
    assert Agent.objects.get().os_info.startswith("Linux")


def test_heartbeat_of_a_machine_without_a_token_fails(script):
    done = script.run("heartbeat")
    assert (done.returncode, "Not enrolled" in done.stderr) == (1, True)


def test_refused_heartbeat_fails_with_the_code_of_the_portal(script, enroll_token):
    script.enrol(enroll_token)
    enrolment.uninstall_machine(Agent.objects.get().machine_id, "", None, None)
    done = script.run("heartbeat")
    assert (done.returncode, "status 401 token_revoked" in done.stderr) == (1, True)


def test_uninstall_tells_the_portal_and_leaves_nothing_behind(script, enroll_token):
    script.enrol(enroll_token)
    done = script.run("uninstall")
    assert (done.returncode, done.stdout) == (0, "Uninstalled.\n")
    assert not Agent.objects.get().is_active
    assert not script.state.exists()
    assert list(script.cron.iterdir()) == []


def test_uninstall_succeeds_though_the_portal_refuses_the_token(script, enroll_token):
    script.enrol(enroll_token)
    (script.state / "token.json").write_text('{"machine_id": "PC-1", "api_token": "vigie_agent_unknown"}')
    done = script.run("uninstall")
    assert (done.returncode, "was not notified" in done.stdout, script.state.exists()) == (0, True, False)


def test_portal_that_is_away_fails_a_heartbeat_and_no_uninstallation(scripts, settings, tmp_path):
    """Reserve a port at which nothing listens."""
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{away.getsockname()[1]}"
        script = Script(scripts["vigie.sh"].replace(settings.PORTAL_URL, address), tmp_path)
        (script.state / "token.json").write_text('{"machine_id": "PC-1", "api_token": "vigie_agent_x"}')
        assert script.run("enrol").returncode == 1
        assert script.run("heartbeat").returncode == 1
        done = script.run("uninstall")
    assert (done.returncode, "was not notified" in done.stdout, script.state.exists()) == (0, True, False)


def test_uninstall_goes_on_without_temporary_files_or_if_a_file_cannot_be_removed(script, enroll_token):
    script.enrol(enroll_token)
    (script.cron / "vigie").unlink()
    (script.cron / "vigie").mkdir()
    script.environment["TMPDIR"] = "/nonexistent"
    done = script.run("uninstall")
    assert (done.returncode, done.stdout, script.state.exists()) == (0, "Uninstalled.\n", False)
    assert Path("/dev/null").is_char_device()


def test_enrolment_without_temporary_files_keeps_its_token(script, enroll_token):
    script.environment["TMPDIR"] = "/nonexistent"
    assert script.enrol(enroll_token).returncode == 1
    assert script.token_file.exists()


def refuse_writable(folder):
    folder.chmod(0o777)


def refuse_writable_by_group(folder):
    folder.chmod(0o770)


def refuse_foreign(folder):
    if os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    os.chown(folder, 65534, 65534)


@pytest.mark.parametrize("open_to_others", [refuse_writable, refuse_writable_by_group, refuse_foreign])
def test_folder_that_another_account_may_change_is_refused(script, enroll_token, open_to_others):
    open_to_others(script.state)
    assert script.enrol(enroll_token).returncode == 1
    assert (list(script.state.iterdir()), list(script.cron.iterdir())) == ([], [])
    assert script.token_file.exists()


@pytest.fixture
def former(script):
    """Return the folder of earlier versions, which the script replaces by its own."""
    folder = script.state.with_name("former")
    text = script.path.read_text().replace("/var/lib/vigie-client", str(script.state))
    script.path.write_text(text.replace("/var/lib/vigie", str(folder)))
    folder.mkdir()
    return folder


def test_heartbeats_go_on_from_the_new_folder_though_the_enrolment_fails(script, former):
    (former / "token.json").write_text('{"machine_id": "PC-1", "api_token": "vigie_agent_x"}')
    (script.cron / "vigie").write_text(f"* * * * * root sh {former}/vigie.sh heartbeat\n")
    assert script.enrol().returncode == 1
    assert f"sh '{script.state}/vigie.sh' heartbeat" in script.scheduled
    assert (script.state / "vigie.sh").exists()


@pytest.mark.parametrize("is_safe", [True, False])
def test_token_moves_from_the_folder_of_earlier_versions_unless_others_may_change_it(
    script, former, make_agent, is_safe
):
    former.chmod(0o711 if is_safe else 0o777)
    (former / "token.json").write_text(
        json.dumps({"machine_id": "PC-1", "api_token": issue_agent_token(make_agent("PC-1"))})
    )
    assert script.enrol().returncode == (0 if is_safe else 1)
    assert former.exists() != is_safe
    assert (script.state / "token.json").exists() == is_safe
    assert script.state.stat().st_mode & 0o777 == (0o711 if is_safe else 0o700)


def test_machine_without_cron_is_enrolled_and_told_so(script, enroll_token):
    (script.commands / "cron").unlink()
    script.path.write_text(script.path.read_text().replace(":/usr/sbin:/sbin &&", " &&"))  # cron may be there
    done = script.enrol(enroll_token)
    assert (done.returncode, "not scheduled" in done.stderr, list(script.cron.iterdir())) == (0, True, [])


def test_schedule_keeps_the_proxies_for_root_alone(script, enroll_token):
    (script.cron / "vigie").touch()
    (script.cron / "vigie").chmod(0o644)
    script.environment |= {"HTTPS_PROXY": "http://user:secret@proxy:3128", "no_proxy": "127.0.0.1"}
    assert script.enrol(enroll_token).returncode == 0
    schedule = script.cron / "vigie"
    assert {"HTTPS_PROXY=http://user:secret@proxy:3128", "no_proxy=127.0.0.1"} <= set(schedule.read_text().splitlines())
    assert schedule.stat().st_mode & 0o777 == 0o600


def test_relative_state_folder_is_absolute_for_cron(script, enroll_token):
    script.environment["VIGIE_STATE"] = script.state.name
    assert script.enrol(enroll_token).returncode == 0
    assert f"VIGIE_STATE='{script.state}'" in script.scheduled


def test_unknown_command_of_the_shell_script_is_wrong_usage(script):
    done = script.run("install")
    assert (done.returncode, done.stderr.startswith("Usage:")) == (2, True)


def test_shell_script_passes_shellcheck(script):
    require(shutil.which("shellcheck"), "shellcheck", "shellcheck")
    done = subprocess.run(
        ["shellcheck", "--severity=warning", script.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
