"""The names of a deposit: what the portal finds it by."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from vigie_client.contract import normalized
from vigie_client.deposits.errors import in_words
from vigie_client.disk.durable import replace_file
from vigie_client.disk.logs import log

LONGEST = 128
_REMEMBERED = 1440
"""Names of reports to remember: a day of one a minute."""


def reduced(name: str) -> str:
    """`name` as it stands in paths, and as the portal does it: `Compta é/2025` becomes `Compta_e_2025`.

    At most LONGEST of `[A-Za-z0-9._-]`, never none, never a dot in front. Reports keep the name itself.
    """
    ascii_only = normalized(name, "NFKD").encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9._-]", "_", ascii_only.strip()).lstrip(".")[:LONGEST] or "_"


def staged_name(database: str, suffix: str) -> str:
    """`compta_db.sql.gz`."""
    return f"{reduced(database)}.sql{suffix}"


class ReportNames:
    """Gives every report a name of its own, across calls: the file at `path` remembers those given.

    The caller holds a lock. Names are `OPERATION_YYYYMMDD_HHMM_{agent_id}.json`, in UTC, of the reduced agent id.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._given = _load(path)

    def from_minute_of(self, moment: datetime, agent_id: str) -> Iterator[str]:
        """The free names from the minute of `moment` on. One that is taken from here is never given again.

        Remembered before it's used: a kill in between costs a minute, not a report.
        """
        while True:
            minute = moment.astimezone(timezone.utc).strftime("%Y%m%d_%H%M")
            name = f"OPERATION_{minute}_{reduced(agent_id)}.json"
            if name not in self._given:
                self._given = [*self._given[1 - _REMEMBERED :], name]
                self._remember()
                yield name
            moment += timedelta(minutes=1)

    def _remember(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._given).encode())
        except OSError as error:  # a full disk must not keep the report of it from the portal
            log(logging.WARNING, "the report's name can't be remembered: %s", in_words(error))


def _load(path: str) -> list[str]:
    """A missing or damaged file remembers nothing."""
    try:
        with open(path, "rb") as file:
            stored = json.load(file)
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []
