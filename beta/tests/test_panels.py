"""How the running programme stands: the tile of the landing page."""

import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone, translation

from beta.models import BetaProgramme
from beta.panels import beta_tile
from beta.tests.factories import create_feedback, create_programme
from monitoring.figures.uptime import DAY
from portal.desk.panels import current_tiles

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


@pytest.fixture
def programme(db):
    return create_programme("Spring beta", starts=timezone.localdate() - 9 * DAY, participants_target=1500)


def tile():
    return beta_tile(timezone.now())


def test_tile_shows_verdict_and_figures(programme):
    for score in (9, 9, 3):
        create_feedback(programme, nps_score=score)
    create_feedback(programme, type="bug", severity="critical")
    shown = tile()
    assert (shown.title, shown.figure, shown.caption) == ("Beta", "NO-GO", "Spring beta")
    assert shown.url == f"/admin/beta/betaprogramme/{programme.pk}/change/"
    assert dict(shown.facts) == {
        "participants": "4 (1,500 required)", "average score": "7.00", "Net Promoter Score": "+33", "open critical and high bugs": "1",
    }  # fmt: skip


def test_figures_are_localized(programme):
    create_feedback(programme, nps_score=7)
    with translation.override("fr"):
        assert "7,00" in dict(tile().facts).values()


def test_programme_without_scores_shows_no_average(programme):
    BetaProgramme.objects.update(participants_target=1)
    create_feedback(programme)
    shown = tile()
    assert shown.figure == "Not enough data"
    assert [value for _name, value in shown.facts] == ["1 (1 required)", "–", "–", "0"]


def test_chart_shows_the_feedback_of_thirty_days(programme):
    now = timezone.now()
    for days in (0, 2, 2, 29, 31):
        create_feedback(programme, given_at=now - days * DAY, received_at=now)
    create_feedback(create_programme("Other"), given_at=now)
    chart = tile().chart
    assert (chart.values[-3:], chart.values[0], len(chart.values), chart.unit) == ([2, 0, 1], 1, 30, "feedback per day")


def test_days_are_in_the_portals_time_zone(programme):
    at = timezone.now().replace(hour=23, minute=30) - 3 * DAY
    create_feedback(programme, given_at=at)
    with timezone.override("Etc/GMT-2"):
        chart = tile().chart
    assert [str(day) for day, value in zip(chart.days, chart.values, strict=True) if value] == [
        str((at + timedelta(days=1)).date())
    ]


def test_tile_shows_the_running_programme_that_began_last(programme):
    create_programme("Newest", starts=timezone.localdate())
    create_programme("Planned", starts=timezone.localdate() + DAY)
    assert tile().caption == "Newest"


@pytest.mark.parametrize(("starts", "ends"), [(1, None), (-9, -1), (None, None)])
def test_tile_without_a_running_programme_links_to_the_list(starts, ends):
    day = timezone.localdate()
    if starts is not None:
        create_programme(starts=day + starts * DAY, ends=None if ends is None else day + ends * DAY)
    shown = tile()
    assert (shown.figure, shown.caption) == ("–", "no active programme")
    assert (shown.url, shown.facts, shown.chart) == ("/admin/beta/betaprogramme/", [], None)


def test_status_is_cached_for_a_minute(programme, django_assert_num_queries):
    create_feedback(programme, nps_score=9)
    tile()
    with django_assert_num_queries(1):
        tile()


@pytest.mark.parametrize(("seconds", "participants"), [(59, "1 (1,500 required)"), (61, "2 (1,500 required)")])
def test_tile_is_at_most_a_minute_old(programme, monkeypatch, seconds, participants):
    create_feedback(programme, nps_score=9)
    tile()
    create_feedback(programme, nps_score=9)
    later = time.time() + seconds
    monkeypatch.setattr("django.core.cache.backends.locmem.time.time", lambda: later)
    assert dict(tile().facts)["participants"] == participants


def test_new_programme_is_shown_at_once(programme):
    tile()
    assert tile().caption == programme.name
    assert create_programme("newer", starts=timezone.localdate()).name == tile().caption


def test_tile_follows_that_of_the_services(programme):
    titles = [shown.title for shown in current_tiles(timezone.now())]
    assert titles[titles.index("Services") + 1] == "Beta"
