"""The report of `manage.py doctor`, also of what keeps the portal from starting. Needs no settings itself."""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from django.core.exceptions import ImproperlyConfigured

STATUSES = ("ok", "warning", "failed")
Entry = Mapping[str, str]
NAME = re.compile(r"[A-Z][A-Z0-9_]+")
HINT = "Correct it: docs/settings.md describes each setting. Other checks run once all settings are valid."
PACKAGES_HINT = "Install the packages of this version: pip install --require-hashes -r requirements.txt"


def report_failed_start(error: ImproperlyConfigured | ImportError, *, is_json: bool) -> int:
    """Print what keeps the portal from starting, and return the exit status."""
    if isinstance(error, ImportError):
        entries = [failed_entry("packages", str(error), PACKAGES_HINT)]
    else:
        entries = [failed_entry("settings", text, HINT) for text in list_bad_settings(error)]
    sys.stdout.write(f"{format_json(entries) if is_json else format_text(entries)}\n")
    return 1


def failed_entry(name: str, detail: str, hint: str) -> Entry:
    return {"name": name, "status": "failed", "detail": detail, "hint": hint}


def list_bad_settings(error: ImproperlyConfigured) -> Iterator[str]:
    """Yield what is wrong with each setting, by taking the bad ones out of the environment one by one."""
    yield str(error)
    while forget_setting(str(error)):
        sys.modules.pop("portal.settings", None)
        try:
            importlib.import_module("portal.settings")
        except ImproperlyConfigured as another:
            error = another
            yield str(error)
        else:
            return


def forget_setting(message: str) -> bool:
    """Remove the setting that the message begins with. Return False if the environment holds none."""
    found = NAME.match(message)
    name = found[0].removesuffix("_FILE") if found else ""
    given = [os.environ.pop(each, None) for each in (name, f"{name}_FILE")]
    return any(value is not None for value in given)


def format_json(entries: Iterable[Entry]) -> str:
    rows = list(entries)
    worst = max((row["status"] for row in rows), key=STATUSES.index, default="ok")
    return json.dumps({"status": worst, "checks": rows})


def format_text(entries: Iterable[Entry]) -> str:
    """Return a line for each check, a hint below what is not ok, and the counts."""
    rows = list(entries)
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row['status']:<7}  {row['name']:<{width}}  {one_line(row['detail'])}")
        if row["hint"]:
            lines.append(f"{'':<7}  {'':<{width}}  → {one_line(row['hint'])}")
    counts = ", ".join(f"{sum(row['status'] == status for row in rows)} {status}" for status in STATUSES)
    return "\n".join([*lines, counts])


def one_line(text: str) -> str:
    return " ".join(text.split())
