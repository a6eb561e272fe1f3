"""Erasing a person from the values that the audit log keeps."""

import pytest
from django.contrib.auth.models import User

from portal import audit
from portal.models import AuditEvent
from portal.privacy import erasing, overview
from portal.privacy.subjects import parse_subject

pytestmark = pytest.mark.django_db
INCIDENT = "incident:7"


@pytest.fixture
def record(db):
    User.objects.create_superuser("admin", "admin@example.org")
    User.objects.create_user("olga", "olga@example.org", first_name="Olga", last_name="Martin")
    User.objects.create_user("bob", "bob@example.org")

    def record(actor, action="monitoring.cause_noted", subject=INCIDENT, **values):
        audit.record_event(action, subject, actor=f"user:{actor}", **values)
        return AuditEvent.objects.latest("pk").pk

    return record


def erase_olga():
    pseudonym, _count = erasing.erase(parse_subject("olga@example.org"), lambda label, count: None)
    return pseudonym


def values_of(pk):
    event = AuditEvent.objects.get(pk=pk)
    return event.before, event.after


def test_texts_of_the_person_are_erased_where_others_replaced_them(record):
    own = record("olga", before={"cause": "of bob"}, after={"cause": "My own words"})
    later = record("bob", before={"cause": "My own words"}, after={"cause": "of bob again"})
    last = record("bob", before={"cause": "of bob again"}, after={"cause": "third"})
    erase_olga()
    assert values_of(own) == ({"cause": "of bob"}, {"cause": ""})
    assert values_of(later) == ({"cause": ""}, {"cause": "of bob again"})
    assert values_of(last) == ({"cause": "of bob again"}, {"cause": "third"})


def test_comment_of_the_person_is_erased_from_a_withdrawal_by_another_user(record):
    record("olga", "monitoring.acknowledged", after={"comment": "On it"})
    withdrawn = record(
        "bob",
        "monitoring.unacknowledged",
        before={"acknowledged_by": "olga", "comment": "On it"},
        after={"acknowledged_by": "", "comment": ""},
    )
    pseudonym = erase_olga()
    assert values_of(withdrawn)[0] == {"acknowledged_by": pseudonym, "comment": ""}
    assert "On it" not in repr(list(AuditEvent.objects.values()))


def test_user_name_is_replaced_where_it_names_a_user(record):
    assigned = record("bob", "monitoring.assigned", before={"assignee": "olga"}, after={"assignee": "bob"})
    word = record("bob", "target.changed", "target:1", before={"name": "olga"}, after={"name": "Shop"})
    pseudonym = erase_olga()
    assert values_of(assigned) == ({"assignee": pseudonym}, {"assignee": "bob"})
    assert values_of(word)[0] == {"name": "olga"}


def test_changes_of_the_account_name_nobody(record):
    changed = record(
        "admin",
        "user.changed",
        "user:olga",
        before={"first_name": "Olga", "username": "olga.old", "email": "old@example.org", "is_staff": True},
        after={"first_name": "Ola", "last_name": "Martin", "username": "olga", "email": "olga@example.org"},
    )
    pseudonym = erase_olga()
    assert values_of(changed) == (
        {"first_name": "", "username": "", "email": "", "is_staff": True},
        {"first_name": "", "last_name": "", "username": "", "email": ""},
    )
    assert AuditEvent.objects.get(pk=changed).subject == f"user:{pseudonym}"


def test_texts_of_a_user_whose_account_is_gone_are_erased(record):
    own = record("olga", after={"cause": "My own words"})
    later = record("bob", before={"cause": "My own words"}, after={"cause": "of bob"})
    User.objects.get(username="olga").delete()
    erasing.erase(parse_subject("user:olga"), lambda label, count: None)
    assert values_of(own)[1] == {"cause": ""}
    assert values_of(later) == ({"cause": ""}, {"cause": "of bob"})


def test_withdrawn_comment_is_erased_if_only_the_withdrawal_is_left(record):
    before = {"acknowledged_by": "olga", "comment": "On it"}
    withdrawn = record("bob", "monitoring.unacknowledged", before=before, after={"acknowledged_by": "", "comment": ""})
    pseudonym = erase_olga()
    assert values_of(withdrawn)[0] == {"acknowledged_by": pseudonym, "comment": ""}


def test_text_that_another_user_kept_is_erased_with_its_author(record):
    record("olga", after={"comment": "On it"})
    kept = [record("bob", before={"comment": "On it"}, after={"comment": "On it"}) for _ in range(2)]
    replaced = record("bob", before={"comment": "On it"}, after={"comment": "of bob"})
    erase_olga()
    assert [values_of(pk) for pk in kept] == [({"comment": ""}, {"comment": ""})] * 2
    assert values_of(replaced) == ({"comment": ""}, {"comment": "of bob"})


def test_text_that_the_person_kept_stays_with_its_author(record):
    record("bob", after={"comment": "of bob"})
    kept = record("olga", before={"comment": "of bob"}, after={"comment": "of bob"})
    erase_olga()
    assert values_of(kept) == ({"comment": "of bob"}, {"comment": "of bob"})


def test_events_of_others_are_not_counted_as_data_about_the_person(record):
    record("olga", after={"cause": "My own words"})
    record("bob", before={"cause": "My own words"}, after={"cause": "of bob"})
    (held,) = (held for held in overview.overview(parse_subject("user:olga")) if held.model is AuditEvent)
    assert held.count == 1


def test_texts_on_something_else_are_unchanged(record):
    record("olga", after={"cause": "My own words"})
    other = record("bob", subject="incident:8", before={"cause": "My own words"}, after={"cause": "x"})
    erase_olga()
    assert values_of(other) == ({"cause": "My own words"}, {"cause": "x"})
