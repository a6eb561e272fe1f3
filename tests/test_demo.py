"""make demo, met by real processes."""

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from vigie_client import page_count_for

from agents import enrolment
from demo.documents import make_broken_documents, make_documents
from demo.fleet import machines, play
from portal.issuing import issue
from usage.models import Run

ROOT = Path(__file__).parent.parent


def test_it_takes_no_other_portal_for_its_own(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = os.environ | {"VIGIE_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "demo", "--bind", bind]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Nothing can listen on {bind}: ")
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.django_db(transaction=True)
def test_the_play_can_be_played_again_on_what_it_left(live_server, tmp_path):
    fleet, token = machines(live_server.url, tmp_path), issue("enroll", label="demo")[1]
    first = list(play(fleet, token))
    assert first[0] == "12 machines enrolled, 0 were already"
    assert "84 runs replayed, none lost" in first[-3]
    assert first[-1].endswith("was refused: agent_already_active")
    assert Run.objects.count() == 12 + 1 + 84
    enrolment.uninstall("PC-LYON-08", "by an operator", None, None)
    again = list(play(fleet, token))
    assert again[0] == "1 machines enrolled, 11 were already"
    assert len(again) == len(first)


def test_its_documents_are_what_it_says(tmp_path):
    encrypted, truncated, empty = (page_count_for(path) for path in make_broken_documents(tmp_path))
    assert (encrypted, truncated, empty) == (None, None, 0)
    assert all(page_count_for(path) for path in make_documents(tmp_path, random.Random(1), 5) if path.suffix == ".pdf")
