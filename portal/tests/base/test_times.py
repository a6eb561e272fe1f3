"""Times relative to now, durations and days, in English and French."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import translation
from django.utils.formats import date_format

from portal.base.words import format_duration, format_relative, format_span

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "just now", "à l’instant"),
        (-59, "just now", "à l’instant"),
        (-60, "1 min ago", "il y a 1 min"),
        (-2_400, "40 min ago", "il y a 40 min"),
        (-7_199, "1 h ago", "il y a 1 h"),
        (-90_000, "1 day ago", "il y a 1 jour"),
        (-200_000, "2 days ago", "il y a 2 jours"),
        (-40 * 86_400, "1 month ago", "il y a 1 mois"),
        (-800 * 86_400, "2 years ago", "il y a 2 ans"),
        (20, "in 20 s", "dans 20 s"),
        (3_600, "in 1 h", "dans 1 h"),
    ],
)
def test_relative_time_uses_the_largest_unit_that_fits(seconds, english, french):
    moment = NOW + timedelta(seconds=seconds)
    assert format_relative(moment, NOW).replace("\xa0", " ") == english
    with translation.override("fr"):
        assert format_relative(moment, NOW).replace("\xa0", " ") == french


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "0 s", "0 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1 min", "1 min"),
        (35, "35 s", "35 s"),
        (252, "4 min 12 s", "4 min 12 s"),
        (3_600, "1 h", "1 h"),
        (3_661, "1 h 1 min", "1 h 1 min"),
        (3_605, "1 h", "1 h"),
        (86_400 + 59, "1 day", "1 jour"),
        (2 * 86_400 + 7_200, "2 days 2 h", "2 jours 2 h"),
        (-5, "0 s", "0 s"),
    ],
)
def test_span_is_shown_in_its_two_largest_units(seconds, english, french):
    assert format_span(timedelta(seconds=seconds)) == english
    with translation.override("fr"):
        assert format_span(timedelta(seconds=seconds)) == french


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_599, "59 min"), (86_399, "23 h"), (86_400, "1 day"),
     (30 * 86_400, "1 month"), (365 * 86_400 - 1, "12 months"), (365 * 86_400, "1 year"), (10**9, "31 years")],
)  # fmt: skip
def test_duration_is_shown_in_the_largest_unit_that_fits(seconds, text):
    assert format_duration(seconds).replace("\xa0", " ") == text


@pytest.mark.parametrize(("language", "text"), [("en", "10 November 2026"), ("fr", "10 novembre 2026")])
def test_day_is_written_day_month_year_in_every_language(language, text):
    with translation.override(language):
        assert date_format(date(2026, 11, 10)) == text


def test_moment_that_django_formats_has_the_portals_form():
    assert date_format(NOW, "DATETIME_FORMAT") == "2026-03-10 09:00:00 UTC"
