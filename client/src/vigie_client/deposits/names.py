"""The names of a deposit: what the portal finds it by."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from vigie_client.contract import path_name
from vigie_client.deposits.errors import error_text
from vigie_client.disk.durable import replace_file
from vigie_client.disk.logs import log

_REMEMBERED = 1440
"""Names of reports to remember: a day of one a minute."""


def staged_name(database: str, suffix: str) -> str:
    """`compta_db.sql.gz`."""
    return f"{path_name(database)}.sql{suffix}"


class ReportNames:
    """Gives every report a name of its own, across calls: the file at `path` remembers those given.

    The caller holds a lock. Names are `OPERATION_YYYYMMDD_HHMM_{agent_id}.json`, in UTC, of the reduced agent id.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._given = _load(path)

    def free_names(self, moment: datetime, agent_id: str) -> Iterator[str]:
        """The free names from the minute of `moment` on. One that is taken from here is never given again.

        Remembered before it's used: a kill in between costs a minute, not a report.
        """
        while True:
            minute = moment.astimezone(timezone.utc).strftime("%Y%m%d_%H%M")
            name = f"OPERATION_{minute}_{path_name(agent_id)}.json"
            if name not in self._given:
                self._given = [*self._given[1 - _REMEMBERED :], name]
                self._remember()
                yield name
            moment += timedelta(minutes=1)

    def _remember(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._given).encode())
        except OSError as error:  # a full disk must not keep the report of it from the portal
            log(logging.WARNING, "the report's name can't be remembered: %s", error_text(error))


def _load(path: str) -> list[str]:
    """A missing or damaged file remembers nothing."""
    try:
        with open(path, "rb") as file:
            stored = json.load(file)
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []
