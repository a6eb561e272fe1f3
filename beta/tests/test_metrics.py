"""Programmes, as Prometheus sees them."""

import pytest
from django.core.cache import cache
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from beta.metrics import programme_metrics
from beta.tests.factories import create_feedback, create_programme
from monitoring.figures.uptime import DAY
from portal.status.metrics import render_metrics

pytestmark = pytest.mark.django_db
PREFIX = "vigie_monitoring_beta_"


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def samples():
    """By name and by what stands beside the programme's name, or else that name."""
    families = text_string_to_metric_families(render_metrics(timezone.now()).decode())
    found = [sample for family in families for sample in family.samples if sample.name.startswith(PREFIX)]
    return {
        (sample.name.removeprefix(PREFIX), *(list(sample.labels.values())[1:] or sample.labels.values())): sample.value
        for sample in found
    }


@pytest.fixture
def programme(db):
    programme = create_programme("Spring", participants_target=1)
    for score in (9, 9, 2):
        create_feedback(programme, nps_score=score)
    create_feedback(programme, type="bug", severity="high")
    create_feedback(programme, "olga@example.org", type="bug", severity="low")
    return programme


def test_metrics_name_the_programme(programme):
    found = samples()
    assert (found["participants", "Spring"], found["score", "Spring"], found["nps", "Spring"]) == (5, 6.66, 33)
    assert found["grave_bugs_open", "Spring"] == 1


def test_current_verdict_is_1_and_others_are_0(programme):
    found = {key[1]: value for key, value in samples().items() if key[0] == "verdict"}
    assert found == {"NO-GO": 1, "GO": 0, "INSUFFICIENT DATA": 0}


def test_feedback_is_counted_by_its_type(programme):
    found = {key[1]: value for key, value in samples().items() if key[0] == "feedback"}
    assert found == {"bug": 2, "ux": 0, "feature": 0, "other": 3}


def test_programme_without_scores_has_no_average_and_no_nps():
    create_programme("Spring")
    names = {key[0] for key in samples()}
    assert names == {"participants", "grave_bugs_open", "verdict", "feedback"}


@pytest.mark.parametrize(("starts", "ends"), [(1, None), (-9, -1)])
def test_programmes_that_do_not_run_have_no_metrics(starts, ends):
    day = timezone.localdate()
    create_programme(starts=day + starts * DAY, ends=None if ends is None else day + ends * DAY)
    assert samples() == {}


def test_any_programme_name_is_a_valid_label():
    create_programme('a "b"\\ c\né')
    assert samples()["participants", 'a "b"\\ c\né'] == 0


def test_metrics_are_limited_to_the_ten_newest_programmes():
    for number in range(12):
        create_programme(f"Beta {number}", starts=timezone.localdate() - number * DAY)
    told = {key[1] for key in samples() if key[0] == "participants"}
    assert told == {f"Beta {number}" for number in range(10)}


def test_statuses_are_cached_for_a_minute(programme, django_assert_num_queries):
    list(programme_metrics(timezone.now()))
    with django_assert_num_queries(2):
        list(programme_metrics(timezone.now()))


def test_nps_of_zero_is_exported():
    programme = create_programme("Spring")
    for score in (9, 2):
        create_feedback(programme, nps_score=score)
    assert samples()["nps", "Spring"] == 0
