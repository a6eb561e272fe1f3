#!/usr/bin/env python
"""Vigie's command line."""

import gc
import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    # What is imported stays until the end. The garbage collector looking at it, last of all when the process ends, took
    # a third of the time of a short command.
    gc.disable()
    try:
        django.setup()
        gc.freeze()
        gc.enable()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"vigie: {error}")


if __name__ == "__main__":
    main()
