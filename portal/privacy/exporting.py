"""All that is held of a subject, as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from portal.base.moments import format_iso
from portal.privacy.erasing import exported
from portal.privacy.subjects import Subject


def json_chunks(given: str, subject: Subject) -> Iterator[str]:
    """`{"subject", "exported_at", "tables": {"agents.Agent": [{…}]}}`, a row a line, without tables that have none."""
    yield f'{{"subject": {encoded(given)}, "exported_at": {encoded(format_iso(timezone.now()))}, "tables": {{'
    between = ""
    for label, rows in exported(subject):
        first = next(rows, None)
        if first is not None:
            yield f"{between}\n{encoded(label)}: [\n{encoded(first)}"
            yield from (f",\n{encoded(row)}" for row in rows)
            yield "]"
            between = ","
    yield "}}\n"


def encoded(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
