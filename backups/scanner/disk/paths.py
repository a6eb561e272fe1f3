"""Names of folders and files below the two roots, made from our own configuration or matched against a strict pattern.

Only computes names: nothing here touches a disk.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable
from typing import Any

from vigie_client.contract import MAX_PATH_NAME, path_name

from portal.base.text import normalize_text

BRACES = re.compile(r"\{(\w*)\}")
# The fields of a job that a folder template may name.
FIELDS = frozenset({"agent_id", "database_name", "company_name", "city", "neighborhood", "year"})
ENDINGS = (".sql.gz", ".sql.zst", ".dump")
STAGED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.(gz|zst|dump)")
# Longer than any name that is compared; beyond it, normalizing costs more than the name is worth.
LONGEST_NORMALIZED = 4 * MAX_PATH_NAME
CURRENT, VERSIONS = "current_version", "versions"


def normalize_name(name: str) -> str:
    """Return a database name in NFC with plain spaces, so that names that look the same are equal."""
    if name.isascii() or len(name) > LONGEST_NORMALIZED:
        return name
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in name)
    return normalize_text(spaced, longest=LONGEST_NORMALIZED)


def check_fields(template: str) -> None:
    """Raise ValueError for anything in braces that is not the name of a field."""
    for _literal, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (spec or conversion or name not in FIELDS):
            raise ValueError(name)


def expand_template(template: str, job: Any) -> list[str]:
    """Return the folders of a template for this job, outermost first.

    Each folder passes through `path_name`, so that no template leads out of its root, whoever wrote it.
    """
    return [path_name(fill_in_fields(part, lambda name: getattr(job, name))) for part in template.split("/") if part]


def fill_in_fields(part: str, value_of: Callable[[str], object]) -> str:
    def reduced_value(found: re.Match[str]) -> str:
        value = value_of(found[1]) if found[1] in FIELDS else None
        return path_name("" if value is None else str(value))

    return BRACES.sub(reduced_value, part)


def dump_folder(job: Any) -> tuple[str, ...]:
    return tuple(expand_template(job.agent_deposit_path_template, job))


def report_folder(job: Any) -> tuple[str, ...]:
    return tuple(expand_template(job.agent_log_deposit_path_template, job))


def storage_folder(job: Any) -> tuple[str, ...]:
    return tuple(expand_template(job.final_storage_path_template, job))


def default_staged_names(database: str) -> list[str]:
    """Return the names to try for a staged dump that the report does not name."""
    return [f"{path_name(database)}{ending}" for ending in ENDINGS]


def is_staged_name(name: str) -> bool:
    return STAGED.fullmatch(name) is not None
