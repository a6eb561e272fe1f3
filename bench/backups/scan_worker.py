"""A process that scans for `bench.backups.scans`: a machine a line on stdin, `*` for all; JSON comes back."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import django

from bench.processes import status

AT = "2025-06-12T13:20:00+00:00"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
    django.setup()
    from django.db import connection  # noqa: PLC0415

    from backups.scanner import orchestration  # noqa: PLC0415
    from backups.scanner.disk import opening  # noqa: PLC0415

    opened, queries = Counter(), Counter()
    opening.open_file = opened.counting(opening.open_file, lambda name, _folder: not name.endswith(".json"))
    now = datetime.fromisoformat(AT)
    print("ready", flush=True)
    for line in sys.stdin:
        agent = line.strip().removeprefix("*")
        opened.count = queries.count = 0
        started = time.monotonic()
        with connection.execute_wrapper(queries.wrapping):
            outcome = orchestration.scan_now(now, agent)[1]
        seconds = time.monotonic() - started
        statuses = sorted({row["status"] for row in outcome.rows})
        found = {
            "seconds": seconds,
            "queries": queries.count,
            "opened": opened.count,
            "peak_mb": status(Path("/proc/self"), "VmHWM") / 2**20,
        }
        print(json.dumps(found | {"statuses": statuses, "promoted": outcome.promoted}), flush=True)


class Counter:
    count = 0

    def counting(self, function: Callable[..., Any], matters: Callable[..., bool]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self.count += matters(*arguments)
            return function(*arguments)

        return called

    def wrapping(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        return execute(sql, params, many, context)


if __name__ == "__main__":
    main()
