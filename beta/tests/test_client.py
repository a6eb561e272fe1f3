"""The client package's feedback and the portal, over a real socket."""

import json

import pytest
from django.db import connections
from vigie_client import FeedbackClient, contract, make_session, spool_stats
from vigie_client.report import feedback_rules

from beta.feedback import intake
from beta.models import BetaFeedback
from beta.tests.feedback import feedback
from beta.tests.said import a_programme
from portal.access.tokens.issuing import issue_token
from portal.api.payloads import PayloadReader

TOKEN = "vigie_client_0123456789ab_secret"
PARTICIPANTS = [
    "Carol@Example.ORG", "  Carol \t de la\r\nTour ", "ÉLISE", "E\u0301lise", "李雷", "a" * 254, "a" * 255, "İ" * 127, "İ" * 128, "", " ", "\n",
    "car\x00ol", "car\x1fol", "car\x85ol", "car\ufffdol", "car\ud800ol", "car\uffffol", "x\u2028y", "agent:pc-7", " CLIENT : x", "agents: x", TOKEN, f"x {TOKEN}",
    "carol@example.org\u200b", "\u202e", "Ca\u00adr\u200dol", "E\u200b\u0301lise", "ag\u200bent:pc-7", TOKEN[:5] + "\u2060" + TOKEN[5:],
]  # fmt: skip
PAGES = ["/scoring", "/scoring?a=1", "/a#b", "#b", " /a b ", "x" * 200, "x" * 201, "x" * 200 + "?" + "y" * 9, ""]


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
def test_what_a_program_sends_the_portal_keeps(sender, spool):
    programme = a_programme()
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
def test_whatever_a_program_takes_the_portal_takes(sender, spool, comment):
    a_programme()
    with sender(app_version="v" * 99) as told:
        assert told.send("é" * 254, comment=comment, page="é" * 999)
    assert BetaFeedback.objects.get().comment
    assert spool_stats(spool).quarantined == 0


@pytest.mark.django_db(transaction=True)
def test_what_the_portal_will_never_take_is_put_aside_with_its_code(sender, spool):
    told = sender(programme="nothing")
    told.send("carol", comment="x")
    assert told.flush() == 0
    record = json.loads((spool.parent / "feedback.jsonl.quarantine").read_text())
    assert (record["code"], record["status"]) == ("programme_unknown", 404)


@pytest.mark.parametrize("given", PARTICIPANTS)
def test_a_participant_is_judged_alike(given):
    assert contract.participant_name(given) == intake.read_participant(PayloadReader(), feedback(participant=given))


@pytest.mark.parametrize("given", PAGES)
def test_a_page_the_portal_takes_is_sent_as_it_is_kept(given):
    told = intake.read_feedback(feedback(page=feedback_rules.reduce_page(given)))
    assert told.page == intake.in_one_line(feedback_rules.reduce_page(given))


def test_limits_and_choices_are_the_portals():
    assert set(contract.FEEDBACK_TYPES) == set(BetaFeedback.Type.values)
    assert set(contract.FEEDBACK_SEVERITIES) == set(BetaFeedback.Severity.values)
