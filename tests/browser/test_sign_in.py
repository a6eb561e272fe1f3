"""Signing in with a real browser: passwords, an authenticator app, recovery codes and passkeys."""

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth.models import User
from django.utils import timezone

from portal.models import SecondFactorGrace
from portal.tests.access.test_second_factor import code_of
from portal.tests.helpers.waiting import PATIENCE

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]
PASSWORD = "correct horse battery"


@pytest.fixture
def alice():
    return User.objects.create_superuser("alice", "alice@example.org", PASSWORD)


@pytest.fixture
def page(browser, live_server, alice):
    """Open a page in a new browser profile, by host name: a passkey cannot be bound to an IP address."""
    context = browser.new_context(base_url=live_server.url.replace("127.0.0.1", "localhost"), locale="en")
    context.set_default_timeout(PATIENCE * 1_000)
    errors = []
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    assert [error for error in errors if "Content Security Policy" in error] == []
    context.close()


def sign_in(page):
    page.goto("/admin/")
    page.get_by_label("Username or e-mail address").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def confirm(page):
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def overview(page):
    page.wait_for_url("**/admin/")
    return page.get_by_role("heading", name="Needs attention").is_visible()


def test_authenticator_app_is_set_up_and_required_at_the_next_sign_in(page):
    sign_in(page)
    assert overview(page)
    page.get_by_role("link", name="Set one up").click()
    page.get_by_role("link", name="Set up").click()
    confirm(page)
    page.get_by_text("Enter the key by hand").click()
    secret = page.locator("details code").inner_text()
    assert page.get_by_alt_text("QR code").evaluate("image => image.naturalWidth") > 0
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Activate").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    assert len(page.locator("#recovery-codes").inner_text().split()) == 10
    assert page.locator(".notice.second-factor").count() == 0
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")
    sign_in(page)
    page.get_by_label("Code").fill(
        RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).get_unused_codes()[0]
    )
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert overview(page)


def test_code_of_the_app_signs_in(page, alice):
    secret = generate_totp_secret()
    TOTP.activate(alice, secret)
    sign_in(page)
    page.wait_for_url("**/accounts/2fa/authenticate/")
    assert page.get_by_role("button", name="Use a passkey").count() == 0
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert overview(page)


def test_passkey_is_added_and_signs_in_alone(page):
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    key = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
           "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": key})
    sign_in(page)
    page.goto("/accounts/2fa/webauthn/add/")
    confirm(page)
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    assert overview(page)
    page.goto("/accounts/2fa/")
    assert page.get_by_role("rowheader", name="Laptop").is_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")
    sign_in(page)
    page.get_by_role("button", name="Use a passkey").click()
    assert overview(page)


def test_overdue_superuser_can_only_set_up_a_factor(page, alice):
    SecondFactorGrace.objects.create(user=alice, since=timezone.now() - timedelta(days=8))
    sign_in(page)
    page.wait_for_url("**/accounts/2fa/")
    page.get_by_role("link", name="Vigie").click()
    page.wait_for_url("**/accounts/2fa/")
    assert page.get_by_text("Set one up to go on").is_visible()
    page.get_by_role("link", name="Set up").click()
    page.get_by_role("heading", name="Confirm your identity").wait_for()
