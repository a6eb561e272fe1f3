"""The machine's name and description, and its state directories."""

from __future__ import annotations

import os
import platform
import socket
import sys
import uuid
from typing import Optional

from vigie_client.contract import machine_name


def default_machine_id() -> str:
    """Return the host name, reduced by `contract.machine_name`, or the network card's address if that is empty."""
    return machine_name(socket.gethostname()) or f"machine-{uuid.getnode():012x}"


def describe_os() -> str:
    """Return system and release, for example `Windows 10` or `Linux 6.1.0`."""
    return f"{platform.system()} {platform.release()}".strip()


def default_state_dir() -> str:
    """Return the user's directory for token and spool, by the convention of the system."""
    home = os.path.expanduser("~")
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Application Support")
    else:
        base = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return os.path.join(base, "vigie-client")


def shared_state_dir() -> str:
    """Return the directory in which the installers keep the machine's token for all users."""
    if os.name == "nt":
        return os.path.join(os.environ.get("PROGRAMDATA") or r"C:\ProgramData", "Vigie")
    return "/var/lib/vigie-client"


def former_state_dir() -> Optional[str]:
    """Return the directory of earlier installers, or None unless root owns it: the portal's own data may be there."""
    folder = "/var/lib/vigie"
    try:
        return folder if os.name != "nt" and os.stat(folder).st_uid == 0 else None
    except OSError:
        return None
