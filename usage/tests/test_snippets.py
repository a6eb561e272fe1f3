"""The scripts of the guides for applications: each sends what the portal accepts."""

import shutil
import subprocess
import sys

import pytest
from vigie_client import Credentials, TokenStore

from portal.connect.guides import list_guides
from portal.tests.helpers.programs import require
from portal.tests.helpers.receiver import Receiver
from usage.api.serializers import RunSerializer

pytestmark = pytest.mark.one_database("scripts that only call a receiver")


@pytest.fixture
def portal():
    with Receiver() as portal:
        portal.usual = (200, {"status": "recorded"})
        yield portal


def save_script(portal, folder, key, name):
    scripts = {
        snippet.file_name: snippet.text
        for guide in list_guides(portal.url)
        if guide.key == key
        for snippet in guide.snippets
    }
    (folder / name).write_text(scripts[name])


def run(folder, *command, **environment):
    done = subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin"} | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shell_script_reports_a_valid_run(portal, tmp_path):
    require(shutil.which("curl"), "curl", "curl")
    (tmp_path / "vigie.token").write_text("the-token\n")
    save_script(portal, tmp_path, "curl", "report.sh")
    run(tmp_path, "sh", "report.sh")
    assert portal.requests[0][1]["Authorization"] == "Bearer the-token"
    assert RunSerializer(data=portal.bodies[0]).is_valid()


def test_application_sends_a_heartbeat_a_valid_run_and_feedback(portal, tmp_path):
    TokenStore(tmp_path / "state").save(Credentials("PC-1", "the-token"))
    save_script(portal, tmp_path, "python", "app.py")
    run(tmp_path, sys.executable, "app.py", VIGIE_STATE_DIR=str(tmp_path / "state"))
    sent = {path.rpartition("/")[2]: body for (path, *_), body in zip(portal.requests, portal.bodies, strict=True)}
    assert set(sent) == {"heartbeat", "report", "feedback"}
    assert RunSerializer(data=sent["report"]).is_valid()
    assert (sent["report"]["machine_id"], sent["feedback"]["participant"]) == ("PC-1", "carol@example.org")
