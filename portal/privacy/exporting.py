"""Export a subject's data as one JSON document."""

import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from portal.base.moments import format_iso
from portal.privacy.erasing import export_rows
from portal.privacy.subjects import Subject


def export_chunks(given: str, subject: Subject) -> Iterator[str]:
    """Yield `{"subject", "exported_at", "tables": {"agents.Agent": [{…}]}}`, a row a line, without empty tables."""
    yield f'{{"subject": {encode_json(given)}, "exported_at": {encode_json(format_iso(timezone.now()))}, "tables": {{'
    between = ""
    for label, rows in export_rows(subject):
        first = next(rows, None)
        if first is not None:
            yield f"{between}\n{encode_json(label)}: [\n{encode_json(first)}"
            yield from (f",\n{encode_json(row)}" for row in rows)
            yield "]"
            between = ","
    yield "}}\n"


def encode_json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
