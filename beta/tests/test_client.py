"""The client package's feedback and the portal, over a real socket."""

import json

import pytest
from django.db import connections
from vigie_client import FeedbackClient, contract, make_session, spool_stats

from beta.models import BetaFeedback
from beta.tests.factories import create_programme
from portal.access.tokens.issuing import issue_token


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def sender(live_server, spool):
    session = make_session(issue_token("client", label="gui")[1])

    def make(**options):
        given = {"spool_path": spool, "timeout": 60, "deliver_after": 600, **options}
        return FeedbackClient(live_server.url, session, **given)

    yield make
    session.close()  # and with it the server's thread, which has a database connection of its own
    connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_feedback_of_the_client_is_stored_with_all_fields(sender, spool):
    programme = create_programme()
    with sender(programme=programme.name, app_version="6.0.3") as told:
        assert told.send("Carol", type="bug", severity="high", nps_score=6, comment="It hangs. 🎉", page="/scoring?a=1")
    row = BetaFeedback.objects.get()
    assert (row.programme, row.source, row.participant) == (programme, "client:gui", "carol")
    assert (row.type, row.severity, row.nps_score, row.comment) == ("bug", "high", 6, "It hangs. 🎉")
    assert (row.page, row.app_version) == ("/scoring", "6.0.3")
    assert row.given_at < row.received_at
    assert (spool_stats(spool).pending, spool_stats(spool).quarantined) == (0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("comment", ["😀" * 100_001, "李" * 100_001, "\x00" * 100_000, "a\ud800\r\nb"])
def test_extreme_texts_that_the_client_accepts_are_stored(sender, spool, comment):
    create_programme()
    with sender(app_version="v" * 99) as told:
        assert told.send("é" * 254, comment=comment, page="é" * 999)
    assert BetaFeedback.objects.get().comment
    assert spool_stats(spool).quarantined == 0


@pytest.mark.django_db(transaction=True)
def test_permanently_refused_feedback_is_quarantined_with_its_code(sender, spool):
    told = sender(programme="nothing")
    told.send("carol", comment="x")
    assert told.flush() == 0
    record = json.loads((spool.parent / "feedback.jsonl.quarantine").read_text())
    assert (record["code"], record["status"]) == ("programme_unknown", 404)


def test_choices_of_the_contract_are_those_of_the_model():
    assert set(contract.FEEDBACK_TYPES) == set(BetaFeedback.Type.values)
    assert set(contract.FEEDBACK_SEVERITIES) == set(BetaFeedback.Severity.values)
