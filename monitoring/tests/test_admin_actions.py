"""What an operator may do about targets: check, silence, pause, publish a badge."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.admin import actions
from monitoring.alerts.incidents import IncidentOpening, open_incidents
from monitoring.clock import mark
from monitoring.models import Incident, Target
from monitoring.tests.helpers.admin_pages import TARGETS, page_url, post_action, post_page_action
from portal.admin import confirm
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import audit_events, log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def subjects(action):
    return sorted(subject for subject, _after in audit_events(f"monitoring.{action}"))


class TestChecking:
    def test_check_now_makes_chosen_targets_due(self, client, make_target):
        log_in_with_role(client, "operator")
        later = timezone.now() + DAY
        a, b, other = (make_target(name, next_check_at=later) for name in ("a", "b", "c"))
        off = make_target("off", next_check_at=later, is_active=False)
        response = post_action(client, "check_now", a, b, off)
        assert messages_of(response) == ["Checks of 2 targets started."]
        due = Target.objects.filter(next_check_at__lte=timezone.now())
        assert set(due) == {a, b}
        assert subjects("check_asked") == sorted([a.subject, b.subject])
        assert other not in due

    def test_check_now_on_the_page_returns_to_it(self, admin_client, make_target):
        target = make_target(next_check_at=timezone.now() + DAY)
        response = post_page_action(admin_client, "check_now", target)
        assert response.redirect_chain == [(page_url(target), 302)]
        assert "Check requested</td>" in page_text(response)

    def test_check_now_of_paused_targets_warns(self, admin_client, make_target):
        response = post_action(admin_client, "check_now", make_target(is_active=False))
        assert messages_of(response) == ["No changes needed."]
        assert [message.level_tag for message in response.context["messages"]] == ["warning"]

    def test_chosen_rows_are_locked_until_the_action_is_done(self, admin_client, target):
        with CaptureQueriesContext(connection) as captured:
            post_action(admin_client, "pause", target, confirmed="yes")
        locks = [query for query in captured if query["sql"].endswith('FOR UPDATE OF "monitoring_target"')]
        assert bool(locks) == connection.features.has_select_for_update  # without, writers wait for each other anyway

    def test_too_many_at_once_are_refused(self, admin_client, make_target, monkeypatch):
        monkeypatch.setattr(confirm, "MOST_AT_ONCE", 1)
        post_action(admin_client, "pause", make_target("a"), make_target("b"), confirmed="yes")
        assert Target.objects.active().count() == 2


class TestSilence:
    def test_silence_asks_for_its_length(self, client, make_target):
        log_in_with_role(client, "operator")
        targets = [make_target("a"), make_target("b")]
        text = page_text(post_action(client, "silence", *targets))
        assert all(f'name="_selected_action" value="{target.pk}"' in text for target in targets)
        assert 'type="datetime-local"' in text
        assert not AuditEvent.objects.filter(action__in=["monitoring.silenced", "admin.action"]).exists()
        assert not Target.objects.exclude(silenced_until=None).exists()

    def test_silence_applies_to_a_target_that_went_up_meanwhile(self, admin_client, make_target):
        target = make_target(state="up")
        sent = {"action": "silence", "_selected_action": [target.pk], "confirmed": "yes", "length": "hour"}
        admin_client.post(f"{TARGETS}?state=down", sent)
        target.refresh_from_db()
        assert target.silenced_until is not None

    def test_action_without_applicable_rows_warns(self, admin_client, make_target):
        target = make_target(state="up")
        asked = {"action": "silence", "_selected_action": [target.pk]}
        response = admin_client.post(f"{TARGETS}?state=down", asked, follow=True)
        assert messages_of(response) == ["No changes needed."]

    @pytest.mark.parametrize(("length", "hours"), [("hour", 1), ("hours", 8), ("day", 24), ("week", 168)])
    def test_silence_lasts_for_the_chosen_length(self, admin_client, make_target, length, hours):
        targets = [make_target("a"), make_target("b")]
        response = post_action(admin_client, "silence", *targets, confirmed="yes", length=length, until="nonsense")
        for target in targets:
            target.refresh_from_db()
            assert abs(target.silenced_until - timezone.now() - hours * HOUR) < timedelta(minutes=1)
        assert messages_of(response)[0].startswith("2 targets silenced until ")
        assert [set(after) for _subject, after in audit_events("monitoring.silenced")] == [{"until"}] * 2

    def test_silence_lasts_until_a_moment_in_the_operators_time_zone(self, admin_client, target):
        with timezone.override("Africa/Douala"):
            post_page_action(admin_client, "silence", target, confirmed="yes", length="until", until="2099-03-01T09:00")
        target.refresh_from_db()
        assert target.silenced_until == datetime(2099, 3, 1, 8, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("until", "words"), [("", "Until when?"), ("2020-01-01T00:00", "passed"), ("x", "valid date")]
    )
    def test_invalid_moment_is_asked_again(self, admin_client, target, until, words):
        response = post_page_action(admin_client, "silence", target, confirmed="yes", length="until", until=until)
        assert words in page_text(response)
        target.refresh_from_db()
        assert target.silenced_until is None

    def test_invalid_length_is_asked_again(self, admin_client, target):
        post_page_action(admin_client, "silence", target, confirmed="yes", length="ever")
        target.refresh_from_db()
        assert target.silenced_until is None

    def test_silence_is_ended(self, admin_client, make_target):
        silent = make_target("a", silenced_until=timezone.now() + DAY)
        loud = make_target("b")
        response = post_action(admin_client, "end_silence", silent, loud)
        silent.refresh_from_db()
        assert silent.silenced_until is None
        assert messages_of(response) == ["Target unsilenced."]
        assert subjects("silence_ended") == [silent.subject]


class TestPausing:
    def test_pause_withdraws_open_incidents(self, client, make_target):
        log_in_with_role(client, "operator")
        target, off = make_target("a", state="down"), make_target("b", is_active=False)
        open_incidents([IncidentOpening(target.subject, "unavailable", target)], mark())
        response = post_action(client, "pause", target, off, confirmed="yes")
        target.refresh_from_db()
        assert messages_of(response) == ["Target paused."]
        assert (target.is_active, target.state) == (False, "unknown")
        event = Incident.objects.get().timeline.get(kind="withdrawn")
        assert event.actor == "olga"
        assert subjects("paused") == [target.subject]

    def test_resumed_target_is_due_at_once(self, admin_client, make_target):
        off = make_target("a", is_active=False, next_check_at=timezone.now() + DAY)
        on = make_target("b", next_check_at=timezone.now() + DAY)
        response = post_action(admin_client, "resume", off, on)
        assert messages_of(response) == ["Target resumed."]
        assert list(Target.objects.filter(next_check_at__lte=timezone.now(), is_active=True)) == [off]
        assert subjects("resumed") == [off.subject]


class TestBadges:
    def test_badges_are_published_and_revoked(self, admin_client, make_target):
        a, b = make_target("a"), make_target("b", badge_key="x" * 22)
        assert messages_of(post_action(admin_client, "publish_badge", a, b))[0].startswith("Badge published")
        a.refresh_from_db()
        b.refresh_from_db()
        assert a.badge_key
        assert b.badge_key == "x" * 22
        assert subjects("badge_published") == [a.subject]
        post_page_action(admin_client, "revoke_badge", a)
        a.refresh_from_db()
        assert a.badge_key
        post_page_action(admin_client, "revoke_badge", a, confirmed="yes")
        a.refresh_from_db()
        assert a.badge_key is None
        assert subjects("badge_revoked") == [a.subject]


class TestButtons:
    @pytest.mark.parametrize(
        ("fields", "shown"),
        [
            ({}, {"check_now", "silence", "pause", "publish_badge"}),
            ({"is_active": False}, {"resume", "publish_badge"}),
            (
                {"silenced_until": datetime(2099, 1, 1, tzinfo=UTC)},
                {"check_now", "end_silence", "pause", "publish_badge"},
            ),
            ({"badge_key": "x" * 22}, {"check_now", "silence", "pause", "revoke_badge"}),
        ],
    )
    def test_page_has_buttons_of_possible_actions(self, admin_client, make_target, fields, shown):
        target = make_target(**fields)
        text = page_text(admin_client.get(page_url(target)))
        names = actions.TargetActions.object_actions
        assert {name for name in names if f"/act/{name}/" in text} == shown

    def test_impossible_action_does_nothing(self, admin_client, target):
        post_page_action(admin_client, "resume", target)
        assert subjects("resumed") == []

    @pytest.mark.one_database("permissions are checked in Python")
    @pytest.mark.parametrize("role", ["viewer", "staff"])
    @pytest.mark.parametrize("action", actions.TargetActions.object_actions)
    def test_only_operators_may_act(self, client, target, role, action):
        log_in_with_role(client, role)
        assert post_page_action(client, action, target, confirmed="yes", length="hour").status_code == 403
        post_action(client, action, target, confirmed="yes", length="hour")
        fresh = Target.objects.get()
        assert (fresh.is_active, fresh.silenced_until, fresh.badge_key) == (True, None, None)
        assert not AuditEvent.objects.filter(action__startswith="monitoring.").exists()
