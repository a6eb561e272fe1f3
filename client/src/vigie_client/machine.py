"""What a machine calls itself."""

from __future__ import annotations

import platform
import re
import socket
import uuid


def default_machine_id() -> str:
    """The host name, reduced to what the portal takes: 1 to 128 of `[A-Za-z0-9._:-]`, first a letter or digit."""
    reduced = re.sub(r"[^A-Za-z0-9._:-]+", "-", socket.gethostname()).lstrip("._:-")[:128]
    return reduced or f"machine-{uuid.getnode():012x}"


def os_info() -> str:
    """Such as `Windows 10` or `Linux 6.1.0`."""
    return f"{platform.system()} {platform.release()}".strip()
