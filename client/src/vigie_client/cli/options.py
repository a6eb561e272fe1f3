"""Parse the command line, and read tokens from files and the environment: others can see a command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Optional

from vigie_client.cli.deposit_options import add_deposit_options
from vigie_client.machine.host import default_state_dir
from vigie_client.machine.token_store import decode_token
from vigie_client.version import __version__


def parse_arguments(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Parse the options of one command. Exits with status 2 on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="vigie-client",
        allow_abbrev=False,
        description="Enrols this machine with a Vigie portal and reports to it.",
        epilog="Exit status: 0 done, 1 failed or kept for later, 2 usage error.",
    )
    parser.add_argument("--version", action="version", version=f"vigie-client {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # No abbreviations: `--token SECRET` would mean `--token-file`.
    add = partial(commands.add_parser, parents=[_common_options()], allow_abbrev=False)
    _enroll_options(add("enroll", help="enrol this machine and store its token"))
    _report_options(add("report", help="report one run with these documents"))
    _force_option(add("flush", help="send the runs that are waiting on disk"))
    _quarantine_options(add("quarantine", help="list, retry or drop items that the portal refused"))
    _heartbeat_options(add("heartbeat", help="report that this machine is online"))
    # Uploads may be slow: only a silent socket times out.
    patient = _common_options(timeout=60.0, per="per operation on a socket")
    add_deposit_options(add("deposit", parents=[patient], help="back up databases and upload them to the portal"))
    add("rotate", help="replace this machine's token with a new one")
    add("uninstall", help="report this machine as uninstalled").add_argument("--reason", help="shown to operators")
    return parser.parse_args(arguments)


def read_token(token_file: Optional[str]) -> Optional[str]:
    """Read the token from a file (`-` is standard input) or from VIGIE_TOKEN; None without either. Raises OSError."""
    if token_file is None:
        return os.environ.get("VIGIE_TOKEN") or None
    if token_file == "-":  # noqa: S105 - the name of a file
        return decode_token(sys.stdin.buffer.read(4096)) or None
    with open(token_file, "rb") as file:
        return decode_token(file.read(4096)) or None


def _common_options(timeout: float = 4.0, per: str = "per call, and per flush as a whole") -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--server", default=os.environ.get("VIGIE_URL"), metavar="URL", help="default: VIGIE_URL")
    common.add_argument(
        "--state-dir",
        default=os.environ.get("VIGIE_STATE_DIR") or default_state_dir(),
        metavar="DIR",
        help="folder of the token and the spool; default: VIGIE_STATE_DIR, else %(default)s "
        "(for the token also the installers' folder)",
    )
    common.add_argument("--token-file", metavar="FILE", help="file with the token; - reads standard input")
    common.add_argument(
        "--timeout", type=float, default=timeout, metavar="SECONDS", help=f"{per}; default: %(default)s"
    )
    return common


def _enroll_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--machine-id", metavar="ID", help="default: the host name")
    for name in ("user-name", "user-email", "user-id", "hostname", "app-version"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--no-reactivate", action="store_true", help="fail if this machine was uninstalled before")


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="document; its name stays on this machine")
    parser.add_argument("--app-name", required=True)
    parser.add_argument("--app-version", required=True)
    parser.add_argument("--license-ref")
    parser.add_argument("--machine-id", metavar="ID", help="default: the enrolled machine id, else the host name")
    _force_option(parser)


def _heartbeat_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--app-version")
    parser.add_argument("--watch", action="store_true", help="keep sending at the portal's interval, until Ctrl-C")


def _quarantine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "retry", "drop"), help="retry: send again at the next flush")
    parser.add_argument("--code", help="only items refused with this code, such as programme_unknown")
    parser.add_argument("--spool", metavar="FILE", help="spool file of a program; default: that of the state directory")


def _force_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="send even during a pause after failures")
