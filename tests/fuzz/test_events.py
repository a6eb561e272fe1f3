"""Fuzzing of activity events."""

from hypothesis import event, given

from portal.base.problems import Problem
from tests.fuzz.checks import assert_is_refusal, assert_is_storable, body_in
from tests.fuzz.strategies import CASES, PLANTED, bodies
from usage.ingestion.events import KINDS, read_events

ID, EMAIL, AT = "7c9e6679742540de944be07fc1f90ae7", "alice@example.org", "2026-03-10T09:20:00Z"
SESSION = {
    "id": ID,
    "user_email": EMAIL,
    "session_start": AT,
    "session_end": AT,
    "user_agent": "Mozilla/5.0 (X11; Linux) Firefox/131.0",
}
FEATURE = {
    "id": ID, "user_email": EMAIL, "feature_name": "documents.upload", "endpoint": "/api/documents/{id}", "timestamp": AT,
    "success": True, "duration_ms": 12,
}  # fmt: skip
ERROR = {
    "id": ID, "user_email": EMAIL, "endpoint": "/api/documents/7", "method": "post", "error_type": "ValueError",
    "error_code": 500, "timestamp": AT,
}  # fmt: skip
EVENTS = {"sessions": [SESSION], "features": [FEATURE], "errors": [ERROR], "sent_at": AT}
NOT_SENT = {"id", "event_id", "stack"}


@CASES
@given(bodies(EVENTS, {"features": [FEATURE, FEATURE]}))
def test_event_is_refused_by_a_code_or_kept_within_its_limits(raw):
    try:
        items_by_list, dropped = read_events(body_in(raw), "client:gui")
    except Problem as problem:
        return assert_is_refusal(problem, "validation_failed")
    assert dropped >= 0
    for name, items in items_by_list.items():
        for item in items:
            assert item.id is None or PLANTED not in item.id
            event("accepted" if item.row else "refused")
            if item.row is not None:
                assert_is_kept_whole(name, item.row)
    return None


def assert_is_kept_whole(name, row):
    """Assert that the row fits into its columns, and that reporting it again gives the same row."""
    fields = {field.name: getattr(row, field.name) for field in row._meta.concrete_fields}
    row.clean_fields(exclude=NOT_SENT | {name for name, value in fields.items() if value is None})
    assert_is_storable(fields)
    sent = {key: value for key, value in fields.items() if key in KINDS[name].keys and value not in ("", None)}
    times = {key: value.isoformat() for key, value in sent.items() if hasattr(value, "isoformat")}
    items, _dropped = read_events({name: [sent | times | {"id": row.event_id.hex}]}, "client:gui")
    again = items[name][0].row
    assert all(getattr(again, key) == fields[key] for key in KINDS[name].compared)
