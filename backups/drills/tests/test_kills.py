import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from backups.drills import children, proofs, runs
from backups.drills.outcomes import PROVEN
from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import RestoreDrill

# The functions at whose start and end a drill is killed.
STEPS: list[tuple[Any, str]] = [
    (runs, "restore_entry"),
    (children, "lowest_priority"),
    (children, "read_answer"),
    (proofs, "record_outcome"),
    (proofs, "list_losses"),
    (proofs, "plan_next"),
]


def die(*args: object, **given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*args: Any, **given: Any) -> None:
        function(*args, **given)
        die()

    return dying


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), STEPS, ids=[name for _module, name in STEPS])
def test_drill_that_is_killed_is_run_again_and_leaves_one_record_and_no_file(
    job, elsewhere, module: Any, name: str, is_after: bool
) -> None:
    store(job, sqlite_dump(a=2))

    def drill_until_killed() -> None:
        setattr(module, name, die_after(getattr(module, name)) if is_after else die)
        runs.run_due()

    assert elsewhere(drill_until_killed) == -signal.SIGKILL
    job.refresh_from_db()
    runs.run_due()

    assert [drill.status for drill in RestoreDrill.objects.all()] == [PROVEN]
    assert list(Path(settings.VIGIE_DATA_DIR, "drills").iterdir()) == []
    assert not runs.due(timezone.now()).exists()
