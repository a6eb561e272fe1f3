"""Options of `vigie-client deposit`: groups of a database and the source of its dump, in the order given."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from vigie_client.deposits.dumps import Dump


def add_deposit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("databases", "one or more of: --database NAME (--command COMMAND | --file DUMP)")
    for flag, metavar, words in (
        ("--database", "NAME", "the database name in the portal"),
        ("--command", "COMMAND", "command that writes the dump to standard output, such as 'pg_dump compta_db'"),
        ("--file", "DUMP", "finished dump; .gz and .zst files are uploaded unchanged"),
    ):
        group.add_argument(flag, action=_Collect, dest="dumps", default=(), metavar=metavar, help=words)
    parser.add_argument("--to", metavar="FOLDER", help="write to this folder instead of uploading over HTTP")
    parser.add_argument("--agent-id", metavar="ID", help="default: the enrolled machine id")
    parser.add_argument("--timeout-dump", type=_seconds, metavar="SECONDS", help="limit per command; default: none")
    parser.add_argument(
        "--deadline",
        type=_seconds,
        default=3600.0,
        metavar="SECONDS",
        help="limit for retries; default: %(default)s",
    )


def parse_dumps(collected: Sequence[tuple[str, str]]) -> list[Dump]:
    """Group the collected options into dumps. Raises ValueError."""
    groups: list[tuple[str, dict[str, str]]] = []
    for flag, value in collected:
        if flag == "--database":
            groups.append((value, {}))
        elif not groups:
            raise ValueError(f"{flag} must follow a --database NAME")
        elif flag[2:] in groups[-1][1]:
            raise ValueError(f"{groups[-1][0]}: {flag} is given twice")
        else:
            groups[-1][1][flag[2:]] = value
    if not groups:
        raise ValueError("no database: use --database NAME with --command COMMAND or --file DUMP")
    return [Dump(name, command=source.get("command"), file=source.get("file")) for name, source in groups]


class _Collect(argparse.Action):
    """Collects the options of all three flags in one list, since their order tells what belongs together."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, value: Any, flag: Any = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (flag, value)])


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(text)
    return seconds
