"""Names on disk. They come from our own configuration alone, or match a strict pattern."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from portal.base.text import normalize_text

BRACES = re.compile(r"\{(\w*)\}")
FOREIGN = re.compile(r"[^A-Za-z0-9._-]")
LONGEST = 128
# What a folder template may name.
FIELDS = frozenset({"agent_id", "database_name", "company_name", "city", "neighborhood", "year"})
ENDINGS = (".sql.gz", ".sql.zst", ".dump")
STAGED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.(gz|zst|dump)")
# No name that is looked for is longer: whatever is, is not worth the cost of normalising it.
LONGEST_NORMALISED = 4 * LONGEST


def reduced(value: object) -> str:
    """The value as one name: ASCII letters, digits, `._-`, no dot in front, never empty."""
    given = "" if value is None else str(value)[:LONGEST_NORMALISED]
    text = normalize_text(given, "NFKD", longest=LONGEST_NORMALISED).encode("ascii", "ignore").decode()
    return FOREIGN.sub("_", text.strip()).lstrip(".")[:LONGEST] or "_"


def normal(name: str) -> str:
    """The name of a database in NFC and with plain spaces: names that look the same are the same."""
    if name.isascii() or len(name) > LONGEST_NORMALISED:
        return name
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in name)
    return normalize_text(spaced, longest=LONGEST_NORMALISED)


def fields_in(template: str) -> Iterator[str]:
    """The names in braces. Raises ValueError where the braces hold anything else."""
    for _literal, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if spec or conversion or name not in FIELDS:
            raise ValueError(name)
        yield name


def expanded(template: str, job: Any) -> list[str]:
    """The folders that a template means for a job, from the outermost in. What no template should say leads nowhere
    else: each folder is reduced like the values in it.
    """
    return [reduced(substituted(part, lambda name: getattr(job, name))) for part in template.split("/") if part]


def substituted(part: str, value_of: Callable[[str], object]) -> str:
    return BRACES.sub(lambda found: reduced(value_of(found[1])) if found[1] in FIELDS else "_", part)


def dump_folder(job: Any) -> tuple[str, ...]:
    return tuple(expanded(job.agent_deposit_path_template, job))


def report_folder(job: Any) -> tuple[str, ...]:
    return tuple(expanded(job.agent_log_deposit_path_template, job))


def storage_folder(job: Any) -> tuple[str, ...]:
    return tuple(expanded(job.final_storage_path_template, job))


def staged_names(database: str) -> list[str]:
    """How a staged dump is called where the report does not say it."""
    return [f"{reduced(database)}{ending}" for ending in ENDINGS]


def is_staged_name(name: str) -> bool:
    return STAGED.fullmatch(name) is not None
