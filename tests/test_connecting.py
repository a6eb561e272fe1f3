"""*Connect an application*: its lines, followed from the page to the portal, and `docs/connecting.md` with the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from agents.models import Agent
from beta.models import BetaFeedback
from portal.connect.guides import list_guides
from portal.models import ApiToken
from portal.tests.helpers.admin_pages import page_text
from portal.tests.helpers.programs import require
from usage.models import Run

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "connecting.md").read_text(encoding="utf-8")
ADDRESS = "https://vigie.example.org"
# Commands that the guides take for granted: an administrator's rights, cron, and a database.
PROGRAMS = {
    "sudo": 'exec "$@"',
    "cron": "exit 0",
    "pg_dump": "printf -- '--\\n-- PostgreSQL database dump\\n--\\n\\n--\\n-- PostgreSQL database dump complete\\n--\\n'",
}
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database("shell commands", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]


@pytest.fixture
def computer(tmp_path, settings):
    """Return a function that runs lines in bash, as on a computer of its own without a package index."""
    require(shutil.which("curl"), "curl", "curl")
    settings.DEPOSITS_ROOT = tmp_path / "deposits"
    settings.DEPOSITS_ROOT.mkdir()
    commands = tmp_path / "bin"
    for name in ("bin", "cron.d", "work"):
        (tmp_path / name).mkdir()
    for name, script in PROGRAMS.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VIGIE_STATE": str(tmp_path / "state"),
        "VIGIE_CRON": str(tmp_path / "cron.d"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(Path(pytest.__file__).parents[1]),  # requests
    }

    def run(lines):
        lines = lines.replace("/opt/", f"{tmp_path}/").replace("/usr/local/bin/", f"{commands}/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=tmp_path / "work",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def lines_of(response):
    """Return the lines to copy on the page, by what they are for."""
    found = re.findall(r'<pre id="([^"]+)" tabindex="0">(.*?)</pre>', page_text(response), re.DOTALL)
    return {name: unescape(text) for name, text in found}


def follow(client, computer, guide, address):
    """Issue the token on the page and follow its steps, in one shell as a reader would. Return what it prints."""
    response = client.post(f"/admin/connect/?guide={guide}", {"label": guide}, headers={"host": address[7:]})
    steps = []
    for name, text in lines_of(response).items():
        is_script = name.endswith("-app.py")
        steps.append(f"cat > app.py <<'APP'\n{text}\nAPP" if is_script else text)
    return computer("\n".join(steps))


def has_arrived(client, guide):
    token = ApiToken.objects.exclude(kind="agent").get()
    page = page_text(client.get("/admin/connect/", {"guide": guide, "token": token.key}))
    return "has arrived." in page


def test_guide_for_the_shell_enrols_sends_a_heartbeat_and_uninstalls(admin_client, computer, live_server):
    printed = follow(admin_client, computer, "shell", live_server.url)
    assert ["is enrolled" in printed, "has the heartbeat" in printed, "Uninstalled." in printed] == [True] * 3
    assert Agent.objects.get().status == "uninstalled"
    assert has_arrived(admin_client, "shell")


def test_guide_for_python_sends_a_heartbeat_a_run_and_feedback(admin_client, computer, live_server):
    printed = follow(admin_client, computer, "python", live_server.url)
    assert "Heartbeat sent. Still waiting on disk: 0." in printed
    assert Run.objects.get().machine_id == Agent.objects.get().machine_id
    assert BetaFeedback.objects.get().participant == "carol@example.org"
    assert has_arrived(admin_client, "python")


@pytest.mark.parametrize(("guide", "model"), [("curl", Run), ("feedback", BetaFeedback)])
def test_guide_for_curl_reports_with_the_token_of_the_application(admin_client, computer, live_server, guide, model):
    assert '"recorded"' in follow(admin_client, computer, guide, live_server.url)
    assert model.objects.count() == 1
    assert has_arrived(admin_client, guide)


def test_guide_for_a_database_uploads_its_backup(admin_client, computer, live_server, settings):
    assert '"status": "deposited"' in follow(admin_client, computer, "backup", live_server.url)
    agent = Agent.objects.get().machine_id
    assert [path.name for path in settings.DEPOSITS_ROOT.glob(f"{agent}/database/*")] == ["my_database.sql.gz"]
    assert has_arrived(admin_client, "backup")


def test_lines_for_powershell_parse(db):
    parser = Parser(Language(tree_sitter_powershell.language()))
    for guide in list_guides(ADDRESS):
        if guide.is_powershell:
            texts = [each.text for each in guide.snippets if not each.file_name.endswith(".iss")]
            for text in [*texts, guide.save_token("vigie_enroll_x")]:
                assert not parser.parse(text.encode()).root_node.has_error, text


def test_document_has_the_lines_of_the_page(db):
    guides = [guide for guide in list_guides(ADDRESS) if guide.kind != "staff"]
    shown = {snippet.text for guide in guides for snippet in guide.snippets}
    shown |= {guide.save_token("vigie_enroll_…") for guide in guides}
    blocks = re.findall(r"^```\w+\n(.*?)\n```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert [block for block in blocks if block not in shown] == []
    left_out = {"python app.py"} | {text for text in shown if "vigie.ps1 " in text and "Invoke" not in text}
    assert shown - left_out - set(blocks) == {
        "(umask 077; rm -f vigie.token; printf '%s\\n' 'vigie_enroll_…' > vigie.token)"
    }
