"""Sessions, uses of features and errors in the admin."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from usage.models import UserError
from usage.tests.changelists import list_rows
from usage.tests.factories import create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
BOB, MACHINE, APP = "bob@example.org", "agent:PC-1", "client:gui"


def ago(**lengths):
    return timezone.now() - timedelta(**lengths)


def listed(model, **query):
    return {row.pk for row in list_rows(model, **query)}


def page(client, row):
    return client.get(reverse(f"admin:usage_{row._meta.model_name}_change", args=[row.pk])).content.decode()


class TestFeatureUsageAdmin:
    @pytest.mark.parametrize("typed", ["bob", "BOB", "agent:PC", "client:", "doc", "document_upload"])
    def test_search_finds_uses_by_prefix_of_caller_or_feature(self, typed):
        rows = {
            "bob": create_feature_usage(BOB, ago(hours=1), "login"),
            "agent:PC": create_feature_usage(MACHINE, ago(hours=1), "report"),
            "client:": create_feature_usage(APP, ago(hours=1), "report"),
            "doc": create_feature_usage("", ago(hours=1), "document_upload"),
        }
        wanted = next(row for beginning, row in rows.items() if typed.lower().startswith(beginning.lower()))
        assert listed("featureusage", q=typed) == {wanted.pk}

    def test_caller_filter_selects_people_machines_and_applications(self):
        now = timezone.now()
        rows = {
            name: create_feature_usage(who, now).pk
            for name, who in [("people", BOB), ("machines", MACHINE), ("apps", APP), ("nobody", "")]
        }
        create_feature_usage(BOB, ago(hours=25))
        for name, pk in rows.items():
            assert listed("featureusage", who=name) == {pk}

    def test_outcome_and_time_filters_select_uses(self):
        good, bad = create_feature_usage(BOB, ago(minutes=5)), create_feature_usage(BOB, ago(hours=2), success=False)
        old = create_feature_usage(BOB, ago(days=3), success=False)
        assert listed("featureusage", outcome="failed") == {bad.pk, old.pk}
        assert listed("featureusage", when="hour") == {good.pk}
        assert listed("featureusage", when="week") == {good.pk, bad.pk, old.pk}

    def test_outcome_column_shows_success_or_failure(self, admin_client):
        create_feature_usage(BOB, ago(minutes=5), duration_ms=1234)
        create_feature_usage("", ago(minutes=5), success=False, duration_ms=None)
        text = admin_client.get("/admin/usage/featureusage/").content.decode()
        for words in (">succeeded</span>", ">failed</span>", ">unknown</span>", "1,234 ms", "the portal"):
            assert words in text

    @pytest.mark.parametrize(
        ("who", "url"),
        [(MACHINE, "/admin/agents/agent/?q=PC-1"), (BOB, "/admin/usage/featureusage/?q=bob%40example.org")],
    )
    def test_page_links_to_caller(self, admin_client, who, url):
        assert f'href="{url}"' in page(admin_client, create_feature_usage(who, ago(minutes=5)))


class TestUserErrorAdmin:
    def test_code_filter_selects_errors(self):
        now = timezone.now()
        rows = {
            "refused": create_error(BOB, now, code=404),
            "failed": create_error(BOB, now, code=503),
            "none": create_error(BOB, now, code=None),
        }
        create_error(BOB, ago(hours=25), code=500)
        for name, row in rows.items():
            assert listed("usererror", code=name) == {row.pk}

    def test_refusal_is_shown_with_title_and_code(self, admin_client):
        create_error(BOB, ago(minutes=5), "throttled", 429)
        text = admin_client.get("/admin/usage/usererror/").content.decode()
        assert "Too many failed authentications" in text
        assert "throttled" in text
        assert '<span class="badge badge-warning">429</span>' in text

    def test_page_shows_stack_innermost_first(self, admin_client):
        error = create_error(BOB, ago(minutes=5), "KeyError", 500)
        UserError.objects.filter(pk=error.pk).update(
            stack=["django.core:inner:197", "usage.api.runs:post:41", "nonsense"],
            error_message="The failure was logged.",
        )
        text = page(admin_client, error)
        assert text.index("usage.api.runs") < text.index("django.core")
        assert "<td>41</td>" in text
        assert "nonsense" not in text
        assert "The failure was logged." in text
        assert '<span class="badge badge-bad">500</span>' in text

    def test_refusal_has_no_stack(self, admin_client):
        assert "has no stack trace" in page(admin_client, create_error(BOB, ago(minutes=5)))

    def test_page_lists_other_errors_of_the_caller(self, admin_client):
        error = create_error(BOB, ago(minutes=5), "KeyError")
        for number in range(12):
            create_error(BOB, ago(minutes=1), f"Other{number:02}")
        create_error("amy@example.org", ago(minutes=1), "Hers")
        text = page(admin_client, error)
        assert text.count("<td>Other") == 10
        assert "Other11" in text
        assert "Hers" not in text
        assert "/admin/usage/usererror/?q=bob%40example.org" in text

    def test_reported_error_has_no_message_of_the_portal(self, admin_client):
        error = create_error(BOB, ago(minutes=5), "ValidationError")
        UserError.objects.update(source=APP)
        assert "Known only to the application that reported it." in page(admin_client, error)


class TestUserSessionAdmin:
    def test_state_filter_selects_open_and_ended_sessions(self):
        still, over = create_session(BOB, ago(hours=2)), create_session(BOB, ago(days=2), ago(days=1))
        assert listed("usersession", q="bob", state="open") == {still.pk}
        assert listed("usersession", q="bob", state="ended") == {over.pk}
        assert listed("usersession", q="bob", when="day") == {still.pk}
        assert listed("usersession", q="amy") == set()

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [(59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h"), (5_000_000, "1 month 27 days")],
    )
    def test_duration_column_shows_length(self, admin_client, seconds, shown):
        row = create_session(BOB, ago(days=80), ago(days=1))
        type(row).objects.update(duration_seconds=seconds)
        assert f">{shown}</td>" in admin_client.get("/admin/usage/usersession/").content.decode()

    def test_open_session_is_shown_as_open(self, admin_client):
        row = create_session(BOB, ago(hours=2))
        assert ">open</span>" in admin_client.get("/admin/usage/usersession/").content.decode()
        assert "(no sign-out)" in page(admin_client, row)
