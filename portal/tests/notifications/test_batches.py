"""Batches made of waiting messages, as a table."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils.translation import override

from portal.models import OutboxMessage
from portal.notifications.batches import MAX_BATCHES, plan_batches

NOW = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)


def messages(*facts):
    """Of `(subject, state, minutes ago)`; the title is the subject's and its number."""
    return [
        OutboxMessage(
            pk=number,
            subject=subject,
            state={"o": "opened", "c": "closed", "n": "note"}[state],
            created_at=NOW - timedelta(minutes=ago),
            severity=2,
            title=f"{subject}{number}",
            text="X",
            path=f"/{number}",
        )
        for number, (subject, state, ago) in enumerate(facts, 1)
    ]


def words(text):
    return [tuple(word.split(",")) for word in text.split()]


def facts(text):
    """`A,o,58`: subject A opened 58 minutes ago."""
    return [(subject, state, float(ago)) for subject, state, ago in words(text)]


@pytest.mark.parametrize(
    ("waiting", "batches"),
    [
        ("", ""),
        ("A,o,0", "1"),
        ("A,o,0 A,c,0", "1 2"),  # at once: as they came
        ("A,o,2 A,c,0", "1 2"),  # not stale yet
        ("A,o,2.1 A,c,0", "1+2"),
        ("A,o,58 A,c,29", "1+2"),
        ("A,o,58 B,o,57 A,c,29", "1+3 2"),
        ("A,o,58 B,o,57 B,c,50 A,c,29", "1+4 2+3"),
        ("A,o,58 A,n,50 A,n,40 A,c,29", "1+2+3+4"),
        ("A,o,58 A,n,50", "1 2"),  # still open: each message is sent
        ("A,o,58 B,n,55 A,n,50", "1 2 3"),
        ("A,c,29", "1"),  # its opening was sent before
        ("A,n,29", "1"),
        ("A,c,58 A,o,50 A,c,40 A,o,30", "1 2+3 4"),
        ("A,o,58 A,c,50 A,o,40 A,c,30", "1+2 3+4"),
        ("A,o,58 A,o,50 A,c,40", "1+2+3"),
        ("A,n,58 A,o,50 A,c,40 A,n,30", "1 2+3 4"),
    ],
)
def test_problem_closed_while_waiting_is_one_batch(waiting, batches):
    planned = plan_batches(messages(*facts(waiting)), NOW, 0)
    assert " ".join("+".join(str(message.pk) for message in batch.messages) for batch in planned) == batches


@pytest.mark.parametrize(
    ("language", "opened", "title"),
    [
        ("en", 58, "A1: opened 10:02, closed 10:31 UTC"),
        ("en", 60 * 24, "A1: opened 2026-03-09 11:00, closed 10:31 UTC"),
    ],
)
def test_closed_problem_is_one_sentence(language, opened, title):
    with override(language):
        (batch,) = plan_batches(messages(("A", "o", opened), ("A", "n", 40), ("A", "c", 29)), NOW, 0)
    assert (batch.title, batch.text, batch.state, batch.path) == (title, "A2", "closed", "/3")


@pytest.mark.parametrize(
    ("ago", "text"), [(0, "X"), (2, "X"), (58, "Happened at 10:02 UTC. This notification was delayed.\n\nX")]
)
def test_stale_message_contains_its_time(ago, text):
    with override("en"):
        (batch,) = plan_batches(messages(("A", "o", ago)), NOW, 0)
    assert (batch.text, batch.title, batch.path) == (text, "A1", "/1")


def test_times_are_in_the_time_zone_of_the_portal(settings):
    settings.TIME_ZONE = "Europe/Paris"
    with override("en"):
        (batch,) = plan_batches(messages(("A", "o", 58), ("A", "c", 29)), NOW, 0)
    assert batch.title == "A1: opened 11:02, closed 11:31 CET"


@pytest.mark.parametrize(
    ("waiting", "lately", "single", "together"),
    [(0, 0, 0, 0), (10, 0, 10, 0), (11, 0, 9, 2), (200, 0, 9, 191), (1, 9, 1, 0), (2, 9, 0, 2), (5, 7, 2, 3), (1, 10, 0, 0), (50, 12, 0, 0)],
)  # fmt: skip
def test_messages_above_the_rate_limit_become_one_digest(waiting, lately, single, together):
    planned = plan_batches(messages(*((f"S{number}", "n", 0) for number in range(waiting))), NOW, lately)
    sizes = [len(batch.messages) for batch in planned]
    assert sizes == [1] * single + [together] * bool(together)
    assert lately + len(planned) <= max(MAX_BATCHES, lately)


def test_digest_counts_severities_and_lists_the_worst_first():
    waiting = messages(*((f"S{number}-", "n", 0) for number in range(1, 16)))
    for message, severity in zip(waiting, [3, 3, 1, 2, 2, 2, 1, *[3] * 8], strict=True):
        message.severity = severity
    with override("en"):
        (batch,) = plan_batches(waiting, NOW, 9)
    assert batch.title == "15 more messages: 2 critical, 3 warnings, 10 info"
    assert batch.text.splitlines()[:3] == ["- critical: S3-3", "- critical: S7-7", "- warning: S4-4"]
    assert batch.text.splitlines()[-1] == "and 5 more"
    assert (batch.severity, batch.state, batch.path) == (1, "note", "/admin/portal/outboxmessage/")


def test_closed_problem_counts_once_in_a_digest():
    with override("en"):
        (batch,) = plan_batches(messages(("A", "o", 58), ("A", "c", 29), ("B", "n", 0)), NOW, 9)
    assert batch.title == "2 more messages: 2 warnings"
    assert len(batch.messages) == 3


def test_html_message_is_sent_alone_and_unchanged():
    waiting = messages(*(("R", "n", 58) for _ in range(12)))
    for message in waiting:
        message.html = "<p>X"
    planned = plan_batches(waiting, NOW, 0)
    assert [len(batch.messages) for batch in planned] == [1] * MAX_BATCHES
    assert {(batch.text, batch.html) for batch in planned} == {("X", "<p>X")}
    assert plan_batches(waiting[MAX_BATCHES:], NOW, MAX_BATCHES) == []
    assert [batch.first.pk for batch in plan_batches(waiting[MAX_BATCHES:], NOW, 0)] == [11, 12]
