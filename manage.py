#!/usr/bin/env python
"""Vigie's command line."""

import gc
import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from portal import __version__
from portal.status.doctor.report import report_failed_start


def main() -> None:
    if sys.argv[1:] in (["version"], ["--version"]):  # Django would print its own
        sys.stdout.write(f"{__version__}\n")
        return
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    # Modules stay loaded until the process ends: keep the garbage collector from scanning them, which would take a
    # quarter of the CPU time of each start. Children of a cluster inherit the frozen modules.
    gc.disable()
    try:
        django.setup()
        gc.freeze()
        gc.enable()
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, ImportError) as error:
        if sys.argv[1:2] == ["doctor"]:
            sys.exit(report_failed_start(error, is_json="--json" in sys.argv))
        if isinstance(error, ImportError):
            raise
        sys.exit(f"vigie: {error}")


if __name__ == "__main__":
    main()
