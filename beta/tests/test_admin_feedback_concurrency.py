"""Operators who say at the same moment what is a duplicate of what, on real connections."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from beta.feedback import triage
from beta.models import BetaFeedback
from beta.tests.factories import create_bug
from beta.tests.test_admin_feedback_triage import sent
from monitoring.tests.helpers.admin_pages import list_url, page_url
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 3


@pytest.fixture
def at_once(client):
    """Posts each of (address, fields) by a browser of its own, let go together; the answers in this order."""
    session = log_in_with_role(client, "operator").cookies["sessionid"].value

    def posting(*posts):
        start = threading.Barrier(len(posts))

        def one(post):
            browser = Client(raise_request_exception=False)
            browser.cookies["sessionid"] = session
            try:
                start.wait()
                return browser.post(*post)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(posts)) as pool:
            return list(pool.map(one, posts))

    return posting


def marking(feedback, original):
    return page_url(feedback), sent(feedback, duplicate_of=original.pk)


def marking_many(original, *rows):
    chosen = {"action": "triage", "confirmed": "yes", "_selected_action": [row.pk for row in rows]}
    return list_url(original), chosen | {"duplicate_of": original.pk}


@pytest.mark.parametrize("in_bulk", [False, True])
def test_one_of_two_mutual_duplicates_is_refused(at_once, in_bulk):
    for _round in range(ROUNDS):
        one, other = create_bug(), create_bug()
        second = marking_many(one, other) if in_bulk else marking(other, one)
        answers = at_once(marking(one, other), second)
        assert Counter(answer.status_code for answer in answers) == {302: 1, 200: 1}
        [refused] = [page_text(answer) for answer in answers if answer.status_code == 200]
        assert "is this feedback or one of its duplicates." in refused
        assert BetaFeedback.objects.filter(status="duplicate").count() == _round + 1


@pytest.mark.parametrize("in_bulk", [False, True])
def test_duplicate_marked_while_its_original_is_deleted_ends_open(at_once, in_bulk):
    for _round in range(ROUNDS):
        original, feedback = create_bug(), create_bug()
        deleting = f"{list_url(original)}{original.pk}/delete/", {"post": "yes"}
        if in_bulk:
            chosen = {"action": "delete_selected", "post": "yes", "_selected_action": [original.pk]}
            deleting = list_url(original), chosen
        marked, deleted = at_once(marking(feedback, original), deleting)
        assert deleted.status_code == 302
        feedback.refresh_from_db()
        assert (feedback.status, feedback.duplicate_of) == ("open", None)
        assert marked.status_code == 302 or "No feedback with this number." in page_text(marked)


def test_feedback_deleted_while_it_is_marked_stays_deleted(at_once):
    for _round in range(ROUNDS):
        original, feedback = create_bug(), create_bug()
        deleting = f"{list_url(feedback)}{feedback.pk}/delete/", {"post": "yes"}
        assert {answer.status_code for answer in at_once(marking(feedback, original), deleting)} == {302}
        assert not BetaFeedback.objects.filter(pk=feedback.pk).exists()


def test_page_action_over_a_real_connection_is_committed(at_once):
    feedback = create_bug()
    [answer] = at_once((f"{list_url(feedback)}{feedback.pk}/act/fix/", {"_selected_action": feedback.pk}))
    assert answer.status_code == 302
    feedback.refresh_from_db()
    assert feedback.status == "fixed"


def test_feedback_is_stored_while_operators_hold_the_programme_lock():
    """The row of the programme is held against operators, not against participants; SQLite lets one write at a time."""
    programme, has_rows_to_hold = create_bug().programme, connection.vendor == "postgresql"

    def participant():
        try:
            if has_rows_to_hold:
                with connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '2s'")
            return create_bug(programme=programme).pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            triage.lock_programmes([programme.pk])
            coming = pool.submit(participant)
            if has_rows_to_hold:
                assert coming.result()
        assert BetaFeedback.objects.filter(pk=coming.result()).exists()
