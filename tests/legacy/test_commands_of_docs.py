"""The commands of docs/importing.md import what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from portal.tests.helpers.legacy_files import machine, make_database, write_lines
from portal.tests.helpers.portal_process import Portal
from portal.tests.helpers.programs import require

pytestmark = [pytest.mark.slow, pytest.mark.one_database("the commands are the same")]
TEXT = (Path(settings.BASE_DIR) / "docs/importing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
AT = "2026-03-04 10:00:00"
RUN = {"app_name": "scan", "app_version": "1", "documents": [{"page_count": 3, "status": "success"}], "timestamp": AT}
ROUND = {
    "check_number": 1,
    "timestamp": AT,
    "total_checks": 1,
    "results": [{"path": "/", "ok": True, "latency_ms": 90}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the files that the page names, with one row each."""
    old, inventory = tmp_path / "old", tmp_path / "inventory"
    old.mkdir()
    inventory.mkdir()
    make_database(inventory / "fleet.db", "enrolled_agents", [machine("PC-1")])
    feedback = {"type": "ux", "comment": "Fine.", "created_at": AT}
    make_database(inventory / "fleet.db", "beta_feedback", [feedback])
    write_lines(old / "usage.jsonl", [RUN])
    write_lines(old / "beta_monitor_log.jsonl", [ROUND])
    write_lines(old / "expected.csv", ["agent_id,database_name", "PC-1,accounts"])
    write_lines(old / "entries.csv", ["agent_id,database_name,cycle_at,status", f"PC-1,accounts,{AT},SUCCESS"])
    return tmp_path


def test_documented_commands_import_each_kind(folder: Path, portal: Portal) -> None:
    require(shutil.which("sqlite3"), "sqlite3", "sqlite3")
    for block in BLOCKS:
        commands = block.replace("/srv/inventory", f"{folder}/inventory").replace("old/", f"{folder}/old/")
        commands = commands.replace("spring-beta", "default")
        script = f"set -e\ncd {settings.BASE_DIR}\n{commands}"
        done = subprocess.run(["sh"], input=script, env=portal.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
    for table in (
        "agents_agent",
        "monitoring_betafeedback",
        "usage_run",
        "monitoring_target",
        "backups_expectedbackupjob",
        "backups_backupentry",
        "agents_machinetoken",
    ):
        assert portal.sql(f"SELECT count(*) FROM {table}") == [(1,)], table
