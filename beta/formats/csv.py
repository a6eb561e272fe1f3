"""The report as a CSV for programs: a row for each value, named as in the report.

`section` is a member of the report, or members joined by dots; what stands directly in the report is of section
`report`. `name` is the value's own name, a day, the id of a bug, or the place in a list from 0 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beta.report.gather import Report
from portal.desk.exports import BYTE_ORDER_MARK, csv_chunks, fit_cell

COLUMNS = ("section", "name", "value", "target", "ok")
# What names an entry of a list of objects.
NAMED_BY = ("day", "id")
Row = tuple[str, Any, Any, Any, Any]


def csv_of(report: Report) -> bytes:
    """Values are written as in the JSON; only texts are made safe for a spreadsheet, and shortened."""
    return "".join(csv_chunks(COLUMNS, rows_of(report), BYTE_ORDER_MARK)).encode()


def rows_of(report: Report) -> Iterator[Row]:
    members: dict[str, Any] = {**report}
    conditions = members.pop("conditions")
    yield from flattened("report", {name: value for name, value in members.items() if not is_nested(value)})
    for condition in conditions:
        yield "conditions", condition["name"], condition["value"], condition["target"], condition["ok"]
    for name, value in members.items():
        if is_nested(value):
            yield from flattened(name, value)


def flattened(section: str, value: Mapping[str, Any] | Sequence[Any]) -> Iterator[Row]:
    named = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, each in named:
        if not is_nested(each):
            yield section, name, short(each), None, None
        elif isinstance(name, int):
            yield from entry(section, each)
        else:
            yield from flattened(f"{section}.{name}", each)


def entry(section: str, members: Mapping[str, Any]) -> Iterator[Row]:
    """An object of a list."""
    [key] = members.keys() & set(NAMED_BY)
    for name, value in members.items():
        if name != key:
            yield f"{section}.{name}", members[key], short(value), None, None


def is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def short(value: Any) -> Any:
    return fit_cell(value) if isinstance(value, str) else value
