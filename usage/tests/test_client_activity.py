"""The client package's tracker and the portal, over a real socket."""

import pytest
from django.db import connections
from vigie_client import ActivityTracker, make_session, spool_stats
from vigie_client.report import payload_rules

from portal.access.tokens.issuing import issue_token
from portal.api.payloads import PayloadReader
from usage.ingestion.events import read_error_type, read_feature, read_route
from usage.models import FeatureUsage, UserError, UserSession

TOKEN = "vigie_client_0123456789ab_secret"
NAMES = [
    "export",
    " ",
    "a b",
    "Contract Dupont-2024.pdf",
    "secret.pdf",
    "a.b.c",
    "ValueError",
    "404",
    TOKEN,
    "x" * 128,
    "x" * 129,
]
ROUTES = ["/a", "/users/8291", "/users/jean.dupont", "main.export", "/u/bob:pw", "/u/<str:x>", "/reset/abcDEFghiJKLmnop", "/getUserProfile", "/x y",
          "C:/Users", "/a?b", "?b", "/1" * 40, "/1" * 41, "/" + "a-" * 100, f"/x/{TOKEN}", "/reset/kqjhsdfkjhqsdkfjhqskdjfh", "/invite/ABC123def456"]  # fmt: skip


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "activity.jsonl"


@pytest.fixture
def tracker(live_server, spool):
    session = make_session(issue_token("client", label="gui")[1])
    yield ActivityTracker(live_server.url, session, "Bob@Example.org", spool_path=spool, timeout=60, deliver_after=600)
    connections.close_all()


def test_events_of_tracker_are_recorded(tracker, spool):
    with tracker:
        with tracker.feature("document upload", endpoint="/api/documents/8291?name=secret.pdf"):
            pass
        with pytest.raises(ValueError), tracker.feature("export"):
            raise ValueError("secret")
        tracker.error("printer_away", endpoint="/print", method="post", code=503)
    stored = UserSession.objects.get(source="client:gui")
    assert (stored.user_email, stored.user_agent) == ("bob@example.org", "vigie-client 1")
    assert stored.session_end > stored.session_start
    uses = FeatureUsage.objects.filter(source="client:gui").order_by("timestamp")
    assert [(use.feature_name, use.endpoint, use.success) for use in uses] == [
        ("document upload", "/api/documents/{id}", True),
        ("export", "", False),
    ]
    errors = UserError.objects.filter(source="client:gui").order_by("timestamp")
    assert [(each.error_type, each.endpoint, each.method, each.error_code) for each in errors] == [
        ("ValueError", "", "", None),
        ("printer_away", "/print", "POST", 503),
    ]
    stats = spool_stats(spool)
    assert (stats.pending, stats.quarantined) == (0, 0)


def test_session_sent_in_two_calls_is_one_row(tracker, spool):
    tracker.start_session()
    assert tracker.flush() == 1
    assert UserSession.objects.get(source="client:gui").session_end is None
    tracker.end_session()
    assert tracker.flush() == 1
    assert UserSession.objects.get(source="client:gui").session_end is not None


def test_resent_spool_counts_once(tracker, spool):
    with tracker.feature("export"):
        pass
    tracker.error("x")
    waiting = spool.read_bytes()
    for _ in range(2):
        spool.write_bytes(waiting)
        assert tracker.flush() == 2
    assert FeatureUsage.objects.filter(source="client:gui").count() == 1
    assert UserError.objects.filter(source="client:gui").count() == 1


@pytest.mark.parametrize("given", NAMES + ROUTES)
def test_portal_and_tracker_agree_on_valid_values(given):
    """Neither side accepts what the other would refuse."""
    reader = PayloadReader()
    taken = {
        payload_rules.reduce_feature_name: read_feature(reader, {"feature_name": given}),
        payload_rules.name_error: read_error_type(reader, {"error_type": given}),
        payload_rules.reduce_endpoint: read_route(reader, {"endpoint": given}),
    }
    refused = {error.field for error in reader.errors}
    fields = ("feature_name", "error_type", "endpoint")
    nothing = ("unnamed", "Exception", None)
    for field, none, (rule, stored) in zip(fields, nothing, taken.items(), strict=True):
        assert rule(given) == (none if field in refused or not stored else stored), field
