"""What operators make of feedback, and what follows from it."""

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from beta.feedback import triage
from beta.models import BetaFeedback, FeedbackTag
from beta.tests.factories import create_bug, get_programme
from monitoring.models import Incident

pytestmark = pytest.mark.django_db


def refused(feedback, **wanted):
    """Why that cannot be done, by field. Nothing is changed."""
    with pytest.raises(ValidationError) as error:
        triage.check_triage(feedback, wanted)
    with pytest.raises(ValidationError):
        triage.apply_triage(feedback, wanted)
    return error.value.message_dict


def fresh(feedback):
    return type(feedback).objects.get(pk=feedback.pk)


class TestChanging:
    def test_triage_returns_before_and_after_of_changed_fields(self):
        olga = User.objects.create_user("olga")
        incident = Incident.objects.create(subject="x", rule="slow", opened_at=timezone.now())
        feedback = create_bug(severity="low")
        wanted = {"type": "bug", "severity": "high", "assignee": olga, "incident": incident, "tags": ["b", "a"]}
        [changed] = triage.apply_triage(feedback, wanted)
        assert changed.before == {"severity": "low", "assignee": None, "incident": None, "tags": ""}
        after = {"severity": "high", "assignee": "user:olga", "incident": incident.pk, "tags": "a, b"}
        assert changed.after == after
        assert (fresh(feedback).severity, fresh(feedback).assignee, fresh(feedback).incident) == (
            "high",
            olga,
            incident,
        )

    def test_unchanged_value_is_no_change(self):
        feedback = create_bug(severity="low")
        triage.apply_triage(feedback, {"tags": ["a"]})
        assert (
            triage.apply_triage(feedback, {"severity": "low", "status": "open", "tags": ["a"], "add_tags": ["a"]}) == []
        )

    def test_triage_keeps_concurrent_changes_of_other_fields(self):
        feedback = create_bug()
        triage.apply_triage(fresh(feedback), {"severity": "high"})
        triage.apply_triage(feedback, {"status": "planned"})
        assert (fresh(feedback).severity, fresh(feedback).status) == ("high", "planned")


class TestDuplicates:
    def test_naming_an_original_makes_it_a_duplicate(self):
        original, feedback = create_bug(), create_bug()
        [changed] = triage.apply_triage(feedback, {"duplicate_of": original})
        assert changed.after == {"status": "duplicate", "duplicate_of": original.pk}
        assert changed.before == {"status": "open", "duplicate_of": None}

    def test_changes_with_their_consequences_are_in_the_order_of_the_fields(self):
        feedback = create_bug()
        wanted = {"fix_version": "6.1", "duplicate_of": create_bug(), "severity": "high"}
        [changed] = triage.apply_triage(feedback, wanted)
        assert list(changed.before) == list(changed.after) == ["severity", "status", "duplicate_of", "fix_version"]
        [changed] = triage.apply_triage(feedback, {"fix_version": "6.2", "status": "fixed"})
        assert list(changed.before) == list(changed.after) == ["status", "duplicate_of", "fix_version"]

    @pytest.mark.parametrize("status", ["open", "planned", "fixed", "declined"])
    def test_another_status_removes_the_original(self, status):
        original, feedback = create_bug(), create_bug()
        triage.apply_triage(feedback, {"duplicate_of": original})
        triage.apply_triage(feedback, {"status": status})
        assert (fresh(feedback).status, fresh(feedback).duplicate_of) == (status, None)

    @pytest.mark.parametrize("status", ["open", "planned", "fixed", "declined"])
    def test_original_with_another_status_is_refused(self, status):
        feedback = create_bug()
        why = [f"Choose one status: duplicate or {BetaFeedback.Status(status).label}."]
        assert refused(feedback, duplicate_of=create_bug(), status=status) == {"duplicate_of": why}
        assert (fresh(feedback).status, fresh(feedback).duplicate_of) == ("open", None)

    def test_original_must_exist_in_the_same_programme(self):
        feedback, other = create_bug(), create_bug(programme=get_programme("Second"))
        assert refused(feedback, status="duplicate") == {"duplicate_of": ["Enter the number of the original."]}
        itself = [f"#{feedback.pk} is this feedback or one of its duplicates."]
        assert refused(feedback, duplicate_of=feedback) == {"duplicate_of": itself}
        assert refused(feedback, duplicate_of=other) == {"duplicate_of": [f"#{other.pk} belongs to another programme."]}
        assert fresh(feedback).status == "open"

    def test_duplicate_keeps_its_original(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"duplicate_of": create_bug()})
        assert "duplicate_of" in refused(feedback, duplicate_of=None)

    def test_mutual_duplicates_are_refused(self):
        first, second = create_bug(), create_bug()
        triage.apply_triage(second, {"duplicate_of": first})
        assert "duplicate_of" in refused(first, duplicate_of=second)

    def test_duplicate_of_a_duplicate_refers_to_its_original(self):
        original, duplicate, third = create_bug(), create_bug(), create_bug()
        triage.apply_triage(duplicate, {"duplicate_of": original})
        triage.apply_triage(third, {"duplicate_of": duplicate})
        assert fresh(third).duplicate_of == original

    def test_duplicates_move_to_the_new_original(self):
        original, between, last = create_bug(), create_bug(), create_bug()
        triage.apply_triage(last, {"duplicate_of": between})
        changed = triage.apply_triage(between, {"duplicate_of": original})
        assert [each.feedback for each in changed] == [between, last]
        assert (changed[1].before, changed[1].after) == ({"duplicate_of": between.pk}, {"duplicate_of": original.pk})
        assert fresh(last).duplicate_of == original

    def test_duplicate_without_original_can_be_triaged_and_reopened(self):
        original, feedback = create_bug(), create_bug()
        triage.apply_triage(feedback, {"duplicate_of": original})
        original.delete()
        triage.apply_triage(fresh(feedback), {"severity": "high"})
        assert (fresh(feedback).severity, fresh(feedback).status) == ("high", "duplicate")

    def test_deleted_duplicates_are_not_reported_as_changed(self):
        original, going, staying = create_bug(), create_bug(), create_bug()
        for each in (going, staying):
            triage.apply_triage(each, {"duplicate_of": original})
        [changed] = triage.reopen_duplicates([fresh(original), fresh(going)])
        assert changed.feedback == staying
        assert fresh(going).status == "duplicate"

    def test_circular_duplicates_terminate(self):
        first, second = create_bug(), create_bug()
        for each, other in ((first, second), (second, first)):
            type(each).objects.filter(pk=each.pk).update(status="duplicate", duplicate_of=other)
        assert triage.find_original(fresh(first)) in (first, second)


class TestTags:
    @pytest.mark.parametrize(
        ("text", "names"),
        [("Export, dark  THEME,,export ,", ["export", "dark theme"]), ("", []), (" , ", []), ("x" * 40, ["x" * 40])],
    )
    def test_tags_are_split_at_commas(self, text, names):
        assert triage.parse_tags(text) == names

    @pytest.mark.parametrize("text", ["x" * 41, ",".join("abcdefghijk")])
    def test_long_tags_and_too_many_are_refused(self, text):
        with pytest.raises(ValidationError):
            triage.parse_tags(text)

    def test_tags_are_added_and_removed(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"tags": ["a", "b"]})
        [changed] = triage.apply_triage(feedback, {"add_tags": ["c", "b"], "remove_tags": ["a", "z"]})
        assert (changed.before, changed.after) == ({"tags": "a, b"}, {"tags": "b, c"})
        assert FeedbackTag.objects.filter(name="b").count() == 1

    def test_total_number_of_tags_is_limited(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"tags": list("abcdefgh")})
        assert refused(feedback, add_tags=["x", "y", "z"]) == {"tags": ["Feedback can have at most 10 tags."]}
        triage.apply_triage(feedback, {"add_tags": ["x", "y", "z"], "remove_tags": ["a"]})
        assert feedback.tags.count() == 10
