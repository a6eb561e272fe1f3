"""Fuzzing of feedback."""

from hypothesis import event, given
from vigie_client.contract import MAX_COMMENT, MAX_PAGE, MAX_PARTICIPANT, MAX_SCORE, MAX_VERSION

from beta.feedback.reading import read_feedback
from beta.models import BetaFeedback
from portal.base.problems import Problem
from tests.fuzz.checks import assert_is_refusal, assert_is_storable, body_in
from tests.fuzz.strategies import CASES, bodies

FEEDBACK = {
    "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "participant": "Carol@example.org", "type": "bug", "severity": "high",
    "nps_score": 6, "comment": "It stops at the third.\r\nAgain.", "page": "/scoring?id=7#top", "app_version": "6.0.3",
    "given_at": "2026-03-10T09:20:00Z", "sent_at": "2026-03-10T09:21:03Z", "programme": "spring-beta",
}  # fmt: skip
SCORE = {"id": FEEDBACK["id"], "participant": "Eléonore d’Aquitaine", "nps_score": 10}


@CASES
@given(bodies(FEEDBACK, SCORE))
def test_feedback_is_refused_by_a_code_or_kept_within_its_limits(raw):
    try:
        told = read_feedback(body_in(raw))
    except Problem as problem:
        return assert_is_refusal(problem, "validation_failed")
    event("accepted")
    kept = vars(told)
    # Its programme is looked up by its name, which never is the value of a column.
    assert_is_storable(kept | {"programme": ""})
    assert 0 < len(told.participant) <= MAX_PARTICIPANT
    assert len(told.comment) <= 3 * MAX_COMMENT
    assert (len(told.page) <= MAX_PAGE, len(told.app_version) <= MAX_VERSION) == (True, True)
    assert told.nps_score in (None, *range(MAX_SCORE + 1))
    assert told.type in BetaFeedback.Type.values
    assert told.severity in ("", *BetaFeedback.Severity.values)
    assert told.comment or told.nps_score is not None
    given_at = told.given_at and told.given_at.isoformat()
    again = read_feedback(kept | {"id": told.feedback_id.hex, "given_at": given_at})
    assert again.digest() == told.digest()
    return None
