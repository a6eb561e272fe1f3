"""Times relative to now, in English and French."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from portal.base.words import format_relative

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
