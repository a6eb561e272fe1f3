"""What operators make of feedback, and what follows from it."""

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from beta.feedback import triage
from beta.models import FeedbackTag
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
    def test_it_says_what_it_was_and_what_it_is_of_what_has_changed(self):
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

    def test_what_is_so_already_is_no_change(self):
        feedback = create_bug(severity="low")
        triage.apply_triage(feedback, {"tags": ["a"]})
        assert (
            triage.apply_triage(feedback, {"severity": "low", "status": "open", "tags": ["a"], "add_tags": ["a"]}) == []
        )

    def test_it_leaves_what_another_has_changed_meanwhile(self):
        feedback = create_bug()
        triage.apply_triage(fresh(feedback), {"severity": "high"})
        triage.apply_triage(feedback, {"status": "planned"})
        assert (fresh(feedback).severity, fresh(feedback).status) == ("high", "planned")


class TestDuplicates:
    def test_who_says_of_what_says_that_it_is_one(self):
        original, feedback = create_bug(), create_bug()
        [changed] = triage.apply_triage(feedback, {"duplicate_of": original})
        assert changed.after == {"status": "duplicate", "duplicate_of": original.pk}
        assert changed.before == {"status": "open", "duplicate_of": None}

    @pytest.mark.parametrize("status", ["open", "planned", "fixed", "declined"])
    def test_what_is_anything_else_is_a_duplicate_no_more(self, status):
        original, feedback = create_bug(), create_bug()
        triage.apply_triage(feedback, {"duplicate_of": original})
        triage.apply_triage(feedback, {"status": status})
        assert (fresh(feedback).status, fresh(feedback).duplicate_of) == (status, None)

    @pytest.mark.parametrize("status", ["open", "planned", "fixed", "declined"])
    def test_it_is_either_a_duplicate_or_something_else(self, status):
        feedback = create_bug()
        why = [f"It is either a duplicate or {status}: say which."]
        assert refused(feedback, duplicate_of=create_bug(), status=status) == {"duplicate_of": why}
        assert (fresh(feedback).status, fresh(feedback).duplicate_of) == ("open", None)

    def test_one_is_needed_and_never_itself_nor_anothers(self):
        feedback, other = create_bug(), create_bug(programme=get_programme("Second"))
        assert refused(feedback, status="duplicate") == {"duplicate_of": ["Say of which it is a duplicate."]}
        itself = [f"That is #{feedback.pk} itself, or a duplicate of it."]
        assert refused(feedback, duplicate_of=feedback) == {"duplicate_of": itself}
        assert refused(feedback, duplicate_of=other) == {"duplicate_of": [f"#{other.pk} is of another programme."]}
        assert fresh(feedback).status == "open"

    def test_a_duplicate_stays_one_of_something(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"duplicate_of": create_bug()})
        assert "duplicate_of" in refused(feedback, duplicate_of=None)

    def test_two_are_never_duplicates_of_each_other(self):
        first, second = create_bug(), create_bug()
        triage.apply_triage(second, {"duplicate_of": first})
        assert "duplicate_of" in refused(first, duplicate_of=second)

    def test_of_a_duplicate_its_original_is_meant(self):
        original, duplicate, third = create_bug(), create_bug(), create_bug()
        triage.apply_triage(duplicate, {"duplicate_of": original})
        triage.apply_triage(third, {"duplicate_of": duplicate})
        assert fresh(third).duplicate_of == original

    def test_its_own_duplicates_come_along_and_it_says_so(self):
        original, between, last = create_bug(), create_bug(), create_bug()
        triage.apply_triage(last, {"duplicate_of": between})
        changed = triage.apply_triage(between, {"duplicate_of": original})
        assert [each.feedback for each in changed] == [between, last]
        assert (changed[1].before, changed[1].after) == ({"duplicate_of": between.pk}, {"duplicate_of": original.pk})
        assert fresh(last).duplicate_of == original

    def test_what_lost_its_original_is_judged_and_reopened_as_before(self):
        original, feedback = create_bug(), create_bug()
        triage.apply_triage(feedback, {"duplicate_of": original})
        original.delete()
        triage.apply_triage(fresh(feedback), {"severity": "high"})
        assert (fresh(feedback).severity, fresh(feedback).status) == ("high", "duplicate")

    def test_of_duplicates_that_go_along_nothing_is_told(self):
        original, going, staying = create_bug(), create_bug(), create_bug()
        for each in (going, staying):
            triage.apply_triage(each, {"duplicate_of": original})
        [changed] = triage.reopen_duplicates([fresh(original), fresh(going)])
        assert changed.feedback == staying
        assert fresh(going).status == "duplicate"

    def test_a_circle_has_an_end(self):
        first, second = create_bug(), create_bug()
        for each, other in ((first, second), (second, first)):
            type(each).objects.filter(pk=each.pk).update(status="duplicate", duplicate_of=other)
        assert triage.find_original(fresh(first)) in (first, second)


class TestTags:
    @pytest.mark.parametrize(
        ("text", "names"),
        [("Export, dark  THEME,,export ,", ["export", "dark theme"]), ("", []), (" , ", []), ("x" * 40, ["x" * 40])],
    )
    def test_they_are_the_words_between_commas(self, text, names):
        assert triage.parse_tags(text) == names

    @pytest.mark.parametrize("text", ["x" * 41, ",".join("abcdefghijk")])
    def test_long_ones_and_many_are_refused(self, text):
        with pytest.raises(ValidationError):
            triage.parse_tags(text)

    def test_some_come_and_some_go(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"tags": ["a", "b"]})
        [changed] = triage.apply_triage(feedback, {"add_tags": ["c", "b"], "remove_tags": ["a", "z"]})
        assert (changed.before, changed.after) == ({"tags": "a, b"}, {"tags": "b, c"})
        assert FeedbackTag.objects.filter(name="b").count() == 1

    def test_together_they_are_not_too_many(self):
        feedback = create_bug()
        triage.apply_triage(feedback, {"tags": list("abcdefgh")})
        assert refused(feedback, add_tags=["x", "y", "z"]) == {"tags": ["At most 10 tags are possible."]}
        triage.apply_triage(feedback, {"add_tags": ["x", "y", "z"], "remove_tags": ["a"]})
        assert feedback.tags.count() == 10
