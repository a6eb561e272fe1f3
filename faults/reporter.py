"""An application that reports a number of runs, even if it or the portal is killed meanwhile.

    python -m faults.reporter URL TOKEN FOLDER COUNT

Restarted after a kill, it goes on from its ledger, which has a line for each spooled run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from vigie_client import (
    UsageTelemetryClient,
    build_usage_payload,
    flush_spool,
    make_session,
    new_run_id,
    spool_payload,
    spool_stats,
)

FLUSH_EVERY = 10
PAUSE_SECONDS = 0.02


def main(url: str, token: str, folder: Path, count: int) -> None:
    client, spool, ledger = UsageTelemetryClient(url, make_session(token)), folder / "usage.jsonl", folder / "ledger"
    spooled = len(ledger.read_text().splitlines()) if ledger.exists() else 0
    for number in range(spooled, count):
        run_id = new_run_id()
        document = {"page_count": 3, "status": "success", "duration_ms": 5, "extension": "pdf"}
        spool_payload(
            spool, build_usage_payload(run_id=run_id, app_name="faults", app_version="1", documents=[document])
        )
        with ledger.open("a") as file:
            file.write(f"{run_id}\n")
        if number % FLUSH_EVERY == 0:
            flush_spool(spool, client)
        time.sleep(PAUSE_SECONDS)
    while spool_stats(spool).pending:
        flush_spool(spool, client, force=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
