"""File names of a deposit, by which the portal finds it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from vigie_client.contract import path_name
from vigie_client.deposits.errors import error_text
from vigie_client.disk.durable import replace_file
from vigie_client.disk.logs import log

_MAX_REMEMBERED = 1440
"""Number of report names to remember: one per minute for a day."""


class ReportNames:
    """Gives each report a unique name across calls. The file at `path` remembers the names given.

    The caller must hold a lock. Names are `OPERATION_YYYYMMDD_HHMM_{agent_id}.json`, in UTC, with the reduced agent id.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._given = _load(path)

    def free_names(self, moment: datetime, agent_id: str) -> Iterator[str]:
        """Yield the free names from the minute of `moment` on. A yielded name is never given again.

        Each is remembered before it is used: a kill in between costs a minute, not a report.
        """
        while True:
            minute = moment.astimezone(timezone.utc).strftime("%Y%m%d_%H%M")
            name = f"OPERATION_{minute}_{path_name(agent_id)}.json"
            if name not in self._given:
                self._given = [*self._given[1 - _MAX_REMEMBERED :], name]
                self._save()
                yield name
            moment += timedelta(minutes=1)

    def _save(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._given).encode())
        except OSError as error:  # a full disk must not prevent the report of it
            log(logging.WARNING, "the report's name can't be remembered: %s", error_text(error))


def _load(path: str) -> list[str]:
    """Read the names given. A missing or damaged file has none."""
    try:
        with open(path, "rb") as file:
            stored = json.load(file)
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []
