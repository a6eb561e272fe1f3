"""Capped counts: paginating a huge table never reads all of it."""

import pytest
from django.db import connection
from django.utils import timezone

from portal.admin import changelist
from portal.admin.changelist import CappedPaginator, estimated_rows
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_cap(monkeypatch):
    monkeypatch.setattr(changelist, "CAP", 5)


@pytest.fixture
def make_events():
    def make(count):
        now = timezone.now()
        AuditEvent.objects.bulk_create(
            AuditEvent(at=now, last_at=now, actor="system", action="a", subject=f"s{number}") for number in range(count)
        )
        return AuditEvent.objects.order_by("-id")

    return make


@pytest.mark.parametrize("rows", [0, 1, 4, 5])
def test_short_list_is_counted_exactly(make_events, rows, django_assert_num_queries):
    pages = CappedPaginator(make_events(rows), 2)
    with django_assert_num_queries(1):
        assert (pages.count, pages.shown_count, pages.is_capped) == (rows, str(rows), False)


def test_count_reads_at_most_one_row_beyond_the_cap(make_events, django_assert_num_queries):
    pages = CappedPaginator(make_events(9), 2)
    with django_assert_num_queries(1) as queries:
        assert pages.count == 6
    assert "LIMIT 6" in queries[0]["sql"]


def test_long_filtered_list_shows_that_there_are_more(make_events):
    assert CappedPaginator(make_events(9).filter(action="a"), 2).shown_count == "5+"


def test_long_unfiltered_list_shows_the_estimate(make_events, monkeypatch):
    monkeypatch.setattr(changelist, "estimated_rows", lambda rows: 10_234_000)
    assert CappedPaginator(make_events(9), 2).shown_count == "≈ 10,234,000"


def test_estimate_below_the_count_is_not_shown(make_events, monkeypatch):
    monkeypatch.setattr(changelist, "estimated_rows", lambda rows: -1)
    assert CappedPaginator(make_events(9), 2).shown_count == "5+"


def test_pages_end_at_the_cap(make_events):
    pages = CappedPaginator(make_events(9), 5)
    assert pages.num_pages == 1
    assert len(pages.page(1).object_list) == 5


def test_estimate_is_close_on_this_database(make_events):
    events = make_events(9)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE portal_auditevent")
    assert estimated_rows(events) == 9
