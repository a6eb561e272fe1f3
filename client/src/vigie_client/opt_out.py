"""The switch of whoever runs the program: no telemetry, whatever the program was written to tell."""

from __future__ import annotations

import os

OFF = frozenset({"off", "0", "false", "no"})


def telemetry_off() -> bool:
    """Whether VIGIE_TELEMETRY says so. Asked each time, before anything is written or sent."""
    return os.environ.get("VIGIE_TELEMETRY", "").strip().lower() in OFF
