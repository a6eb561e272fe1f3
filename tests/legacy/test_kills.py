"""Imports that are killed on the way, and finished by another one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from portal.legacy.registry import BATCH
from portal.tests.helpers.legacy_files import machine, make_database, write_lines
from portal.tests.helpers.portal_process import Portal

pytestmark = [pytest.mark.slow, pytest.mark.each_database]

# Imports with --apply, and kills the process when a function has done its work for the third time, before the commit.
KILLED = """
import importlib, os, signal, sys
import django
from django.core.management import call_command
os.umask(0o077)
django.setup()
module, _, name = sys.argv[1].rpartition(".")
owner, calls = importlib.import_module(module), []
original = getattr(owner, name)
def kill(*given, **named):
    result = original(*given, **named)
    calls.append(given)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, kill)
call_command("import_legacy", *sys.argv[2:], "--apply")
"""
ROWS = 4 * BATCH


def kill_import(portal: Portal, step: str, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(path)],
        env=portal.environment,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def import_again(portal: Portal, path: Path) -> tuple[int, int]:
    """Import, and return how many rows were created and were there already."""
    done = portal.manage("import_legacy", str(path), "--apply", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["files"][0]["imports"]
    return report["created"], report["unchanged"]


def make_machines(path: Path) -> Path:
    return make_database(path, "enrolled_agents", (machine(f"PC-{number}") for number in range(ROWS)))


def make_feedback(path: Path) -> Path:
    feedback = {"type": "ux", "comment": "Fine.", "created_at": "2024-03-01 10:00:00"}
    return make_database(path, "beta_feedback", [feedback] * ROWS)


def make_spool(path: Path) -> Path:
    run = {
        "app_name": "scan", "app_version": "1", "license_ref": "L-1", "document_count": 1, "succeeded_count": 1,
        "failed_count": 0, "total_pages": 1, "started_at": "2024-03-01T10:00:00Z",
    }  # fmt: skip
    return write_lines(path, (run | {"run_id": f"{number:032x}"} for number in range(ROWS)))


def test_killed_import_is_finished_by_another(portal: Portal, tmp_path: Path) -> None:
    cases = (
        (make_machines, "agents.legacy.store_machines", "agents_agent"),
        (make_feedback, "beta.legacy.store_rows", "monitoring_betafeedback"),
        (make_spool, "usage.legacy.store_runs", "usage_run"),
    )
    for make, step, table in cases:
        path = make(tmp_path / table)
        kill_import(portal, step, path)
        assert portal.sql(f"SELECT count(*) FROM {table}") == [(2 * BATCH,)], step
        assert import_again(portal, path) == (ROWS - 2 * BATCH, 2 * BATCH), step
        assert import_again(portal, path) == (0, ROWS), step
    assert portal.sql("SELECT runs, pages FROM usage_runrollup") == [(ROWS, ROWS)]
    assert portal.sql("SELECT count(*) FROM portal_outboxmessage") == [(0,)]
