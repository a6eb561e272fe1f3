"""The report as CSV for programs: one row a value, named as in the report.

`section` is a member of the report, or members joined by dots; values at the top level are in the section `report`.
`name` is the value's own name, a day, the id of a bug, or the index in a list.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beta.report.gather import Report
from portal.desk.exports import BYTE_ORDER_MARK, csv_chunks, fit_cell

COLUMNS = ("section", "name", "value", "target", "ok")
# The members that name an object in a list.
NAMED_BY = ("day", "id")
Row = tuple[str, Any, Any, Any, Any]


def render_csv(report: Report) -> bytes:
    """Write values as in the JSON. Only texts are changed: formulas are escaped, and long ones cut."""
    return "".join(csv_chunks(COLUMNS, iterate_rows(report), BYTE_ORDER_MARK)).encode()


def iterate_rows(report: Report) -> Iterator[Row]:
    members: dict[str, Any] = {**report}
    conditions = members.pop("conditions")
    yield from flatten_member("report", {name: value for name, value in members.items() if not is_nested(value)})
    for condition in conditions:
        yield "conditions", condition["name"], condition["value"], condition["target"], condition["ok"]
    for name, value in members.items():
        if is_nested(value):
            yield from flatten_member(name, value)


def flatten_member(section: str, value: Mapping[str, Any] | Sequence[Any]) -> Iterator[Row]:
    named = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, each in named:
        if not is_nested(each):
            yield section, name, shorten_value(each), None, None
        elif isinstance(name, int):
            yield from flatten_entry(section, each)
        else:
            yield from flatten_member(f"{section}.{name}", each)


def flatten_entry(section: str, members: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of an object in a list."""
    [key] = members.keys() & set(NAMED_BY)
    for name, value in members.items():
        if name != key:
            yield f"{section}.{name}", members[key], shorten_value(value), None, None


def is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def shorten_value(value: Any) -> Any:
    return fit_cell(value) if isinstance(value, str) else value
