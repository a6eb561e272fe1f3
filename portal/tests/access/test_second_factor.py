"""The second factor: who needs one, which pages are open without it, and how a lost one is replaced."""

from datetime import timedelta
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent, SecondFactorGrace

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("forms and codes")]
PASSWORD = "correct horse battery"
NOTICE = "second-factor"


@pytest.fixture
def alice():
    return User.objects.create_superuser("alice", "alice@example.org", PASSWORD)


def sign_in(client, user="alice"):
    return client.post("/accounts/login/", {"login": user, "password": PASSWORD})


def code_of(secret):
    _previous, counter, _next = yield_hotp_counters_from_time()  # the present one still holds in the next half minute
    return format_hotp_value(hotp_value(secret, counter))


@pytest.fixture
def secret(alice):
    """Set up an authenticator app for alice and return its key."""
    key = generate_totp_secret()
    TOTP.activate(alice, key)
    return key


@pytest.fixture
def overdue(client, alice):
    """Sign alice in, eight days after her first sign-in."""
    SecondFactorGrace.objects.create(user=alice, since=timezone.now() - timedelta(days=8))
    sign_in(client)


def test_superuser_is_asked_on_every_page_for_a_week(client, alice):
    sign_in(client)
    for path in ("/admin/", "/admin/usage/run/", "/accounts/2fa/"):
        page = client.get(path).content.decode()
        assert f'class="notice {NOTICE}"' in page, path
        assert reverse("mfa_index") in page
    assert SecondFactorGrace.objects.get().user == alice


def test_week_of_grace_counts_from_the_first_sign_in_only(client, alice, overdue):
    assert client.get("/admin/").url == "/accounts/2fa/"
    client.logout()
    sign_in(client)
    assert client.get("/admin/").url == "/accounts/2fa/"


@pytest.mark.parametrize("name", ["mfa_index", "account_reauthenticate"])
def test_set_up_page_is_open_after_the_week(client, overdue, name):
    assert client.get(reverse(name)).status_code == 200
    assert client.get(reverse("mfa_activate_totp")).url.startswith("/accounts/reauthenticate/")


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/portal/apitoken/issue/", "/accounts/password/change/", "/accounts/2fa/recovery-codes/"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_other_pages_redirect_to_the_set_up_after_the_week(client, overdue, path, method):
    assert getattr(client, method)(path).url == "/accounts/2fa/"


def test_after_the_week_the_session_serves_no_api_and_a_staff_token_does(client, call, alice, overdue):
    answer = client.get("/api/v1/agents/fleet")
    assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
    client.logout()
    assert call("GET", "agents/fleet", issue_token("staff", user=alice)[1]).status_code == 200


def test_factor_set_up_opens_everything_at_once(client, alice, overdue, secret):
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    ("rule", "is_superuser", "is_asked"),
    [("optional", True, False), ("superusers", True, True), ("superusers", False, False), ("required", False, True)],
)
def test_setting_selects_who_needs_a_second_factor(client, settings, rule, is_superuser, is_asked):
    settings.SECOND_FACTOR = rule
    User.objects.create_user("bob", password=PASSWORD, is_staff=True, is_superuser=is_superuser)
    sign_in(client, "bob")
    assert (NOTICE in client.get("/admin/").content.decode()) is is_asked
    assert SecondFactorGrace.objects.exists() is is_asked


def test_removing_the_factor_grants_no_second_week(client, alice, overdue, secret):
    client.get("/admin/")
    Authenticator.objects.all().delete()
    client.logout()
    sign_in(client)
    assert client.get("/admin/").url == "/accounts/2fa/"


def set_up_app(client):
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get("/accounts/2fa/totp/activate/")
    form = {"code": code_of(page.context["form"].secret)}
    return client.post("/accounts/2fa/totp/activate/", form)


def test_app_is_set_up_and_its_key_is_encrypted(client, alice, django_capture_on_commit_callbacks):
    sign_in(client)
    with django_capture_on_commit_callbacks(execute=True):
        assert set_up_app(client).url == "/accounts/2fa/recovery-codes/"
    assert NOTICE not in client.get("/admin/").content.decode()
    app = Authenticator.objects.get(type="totp")
    assert app.data["secret"].startswith("gAAAA")
    seeds = Authenticator.objects.get(type="recovery_codes").data["seed"]
    assert seeds.startswith("gAAAA")
    added = AuditEvent.objects.filter(action="user.factor_added", subject="user:alice").values_list("after", flat=True)
    assert sorted(event["factor"] for event in added) == ["recovery_codes", "totp"]


def test_factors_are_changed_only_after_reauthentication(client, alice, secret):
    sign_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    for name in ("mfa_deactivate_totp", "mfa_add_webauthn", "mfa_generate_recovery_codes"):
        assert client.get(reverse(name)).url.startswith("/accounts/reauthenticate/"), name
        assert client.post(reverse(name)).url.startswith("/accounts/reauthenticate/"), name


def test_password_alone_does_not_sign_in_a_user_with_a_factor(client, alice, secret):
    assert sign_in(client).url == "/accounts/2fa/authenticate/"
    assert client.get("/admin/").status_code == 302
    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert AuditEvent.objects.filter(action="refused.second_factor").count() == 1
    assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).url == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_app_code_signs_in_only_once_across_processes(client, alice, secret):
    code = code_of(secret)
    sign_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": code}).url == "/admin/"
    cache.clear()  # like the empty cache of another process
    other = Client()
    sign_in(other)
    assert other.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
    assert AuditEvent.objects.filter(action="refused.second_factor").count() == 1


def test_session_key_is_rotated_by_the_second_factor(client, alice, secret):
    sign_in(client)
    before = client.cookies["sessionid"].value
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert client.get("/admin/").status_code == 200
    client.cookies["sessionid"] = before
    assert client.get("/admin/").status_code == 302


def test_factors_encrypted_with_a_lost_key_are_shown_as_unusable_and_replaced(client, alice, settings):
    sign_in(client)
    set_up_app(client)
    settings.ENCRYPTION_KEYS = ["x" * 32]
    assert client.get("/accounts/2fa/").content.decode().count("unusable") == 2
    for name in ("mfa_view_recovery_codes", "mfa_download_recovery_codes"):
        assert client.get(reverse(name)).url == "/accounts/2fa/", name
    assert client.get("/accounts/2fa/recovery-codes/generate/").status_code == 200
    client.post("/accounts/2fa/recovery-codes/generate/")
    client.post("/accounts/2fa/totp/deactivate/")
    assert "unusable" not in client.get("/accounts/2fa/").content.decode()


def test_name_of_a_passkey_is_bounded(client, alice):
    sign_in(client)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    name = {"name": "x" * 101}
    assert "name" in client.post("/accounts/2fa/webauthn/add/", name).context["form"].errors
    key = Authenticator.objects.create(user=alice, type="webauthn", data={"name": "Laptop", "credential": {}})
    assert "name" in client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/edit/", name).context["form"].errors


def test_recovery_code_signs_in_once(client, alice, secret):
    [code, *_] = RecoveryCodes.activate(alice).get_unused_codes()
    sign_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": code}).url == "/admin/"
    client.post("/accounts/logout/")
    sign_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
    event = AuditEvent.objects.get(action="user.recovery_code_used")
    assert (event.subject, code in str(list(AuditEvent.objects.values()))) == ("user:alice", False)


def test_reset_removes_factors_and_sessions(client, alice, secret):
    client.force_login(alice)
    out = StringIO()
    call_command("reset_second_factor", "alice", stdout=out)
    assert out.getvalue() == "alice: factors removed: 1, sessions ended: 1.\n"
    assert client.get("/admin/").status_code == 302
    assert AuditEvent.objects.get(action="user.second_factor_reset").after == {"factors": 1, "sessions": 1}
    assert sign_in(client).url == "/admin/"


def test_reset_of_an_unknown_user_fails():
    with pytest.raises(CommandError) as failure:
        call_command("reset_second_factor", "nobody")
    assert failure.value.returncode == 2


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/2fa/", "/accounts/inactive/"])
def test_pages_of_signing_in_are_never_stored_and_run_no_inline_script(client, alice, path):
    client.force_login(alice)
    client.logout() if "2fa" not in path else None
    page = client.get(path)
    assert "no-store" in page.headers["Cache-Control"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
