"""The demo's dumps arrive intact, and restore drills show what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from vigie_client import Dump

from backups.drills import runs
from backups.drills.postgresql.cluster import find_binaries
from backups.models import BackupEntry, ExpectedBackupJob, RestoreDrill, Status
from demo.backups import LILLE, PARIS, Servers, play_restores, request_drills
from demo.portal_side.past_backups import CALLS
from demo.restores import BREST, NAMES, TILL

pytestmark = [pytest.mark.slow, pytest.mark.one_database("the demo has a SQLite file")]


class Past:
    """Calls the portal's side in this process."""

    def scan(self, at: Any, agent: str) -> None:
        self.call("scan", at.isoformat(), agent)

    def call(self, name: str, *arguments: str) -> None:
        CALLS[name](*arguments)


@pytest.fixture
def drills(db: None, settings: Any, tmp_path: Path) -> dict[str, RestoreDrill]:
    """Play the scene, drill what it requests, and return the latest drill of each database."""
    for name in ("deposits", "validated"):
        setattr(settings, f"{name.upper()}_ROOT", tmp_path / name)
        (tmp_path / name).mkdir()
    now = timezone.now().replace(second=0, microsecond=0)
    servers = Servers(tmp_path / "servers", tmp_path / "deposits", now - timedelta(hours=1))
    servers.folder.mkdir()
    for agent, database, company, city, hour, minute in servers.jobs(now):
        fields = {"company_name": company, "city": city, "expected_hour_utc": hour, "expected_minute_utc": minute}
        long_ago = {"created_at": now - timedelta(days=9), "watched_since": now - timedelta(days=9)}
        ExpectedBackupJob.objects.create(agent_id=agent, database_name=database, **fields, **long_ago)
    past: Any = Past()
    for agent, name in ((PARIS, "facturation"), (LILLE, "catalogue")):
        at = servers.expected + timedelta(minutes=3)
        servers.back_up(agent, at, [Dump(name, file=servers.database(name, 2_500))])
        past.scan(at + timedelta(minutes=9), agent)
    play_restores(servers, past)
    request_drills(past)
    runs.run_due()
    return {drill.job.database_name: drill for drill in RestoreDrill.objects.order_by("id")}


def test_drills_show_what_hashes_do_not(drills: dict[str, RestoreDrill]) -> None:
    assert BackupEntry.objects.filter(job__agent_id=BREST, status=Status.SUCCESS).count() == 2 * len(NAMES)
    assert not ExpectedBackupJob.objects.filter(in_doubt=True).exists()
    [lost] = drills["caisse"].losses
    assert (lost["code"], lost["table"], lost["before"], lost["now"]) == (
        "rows_lost",
        "payment",
        TILL[0][1],
        TILL[1][1],
    )
    assert drills["facturation"].is_proof
    assert [result["ok"] for result in drills["facturation"].assertions] == [True]
    assert [loss["code"] for loss in drills["catalogue"].losses] == ["assertion_false"]
    if find_binaries():
        assert drills["boutique"].rows == {"public.product": 12, "public.sale": 150}
        assert drills["boutique"].is_proof
        assert [error["message"] for error in drills["commandes"].errors] == ["COPY: invalid_text_representation"]
    else:
        assert drills["commandes"].status == RestoreDrill.Status.UNSUPPORTED
