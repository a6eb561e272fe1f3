"""Single sign-on through all redirects, against a local provider."""

from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount, SocialToken
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from oidc_provider_mock import run_server_in_thread

from portal.access import roles
from portal.access.accounts import invitations
from portal.access.signin.sessions import DUE
from portal.access.sso import oidc
from portal.access.sso.issuer import SingleSignOn
from portal.models import AuditEvent

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("answers of a provider")]
PORTAL = "http://testserver"
CLAIMS = {"email": "jo@example.org", "email_verified": True, "given_name": "Jo", "roles": ["operator", "unknown"]}


def single_sign_on(**changes):
    good = {
        "issuer": "https://login.example.org/realms/main/", "client_id": "vigie", "secret": "a secret",
        "domains": ["example.org", "sub.example.com"], "role_claim": "roles",
    }  # fmt: skip
    return SingleSignOn(**good | changes)


@pytest.fixture(scope="module")
def provider():
    with run_server_in_thread(require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def configured(settings, provider, monkeypatch):
    settings.PORTAL_URL = PORTAL
    settings.OIDC_ISSUER, settings.OIDC_ROLE_CLAIM, settings.OIDC_ALLOWED_DOMAINS = provider, "roles", ["example.org"]
    settings.SOCIALACCOUNT_PROVIDERS = single_sign_on(issuer=provider).providers()
    monkeypatch.setattr(oidc.OIDCAdapter, "kept", (0.0, {}))
    roles.synchronise_roles()


@pytest.fixture
def sign_in(provider, client):
    """Return a function that signs a person with these claims in and returns the portal's last response."""

    def signing_in(sub="jo", *, browser=client, changed_query=None, **claims):
        requests.put(f"{provider}/users/{sub}", json=CLAIMS | claims, timeout=5).raise_for_status()
        started = browser.get("/accounts/oidc/login/")
        assert started.status_code == 302, started.content
        answer = requests.post(started["Location"], data={"sub": sub}, allow_redirects=False, timeout=5)
        back = urlsplit(answer.headers["Location"])
        assert f"{back.scheme}://{back.netloc}" == PORTAL
        query = {name: values[0] for name, values in parse_qs(back.query).items()} | (changed_query or {})
        return browser.get(back.path, query)

    return signing_in


def error_on_page(client):
    """Return the error message shown on the sign-in page."""
    return client.get("/accounts/login/").content.decode()


def role_names(user):
    return set(user.groups.values_list("name", flat=True))


def test_request_to_the_provider_has_pkce_state_and_nonce(client):
    query = parse_qs(urlsplit(client.get("/accounts/oidc/login/")["Location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert all(query[name][0] for name in ("code_challenge", "state", "nonce"))
    assert query["redirect_uri"] == [f"{PORTAL}/accounts/oidc/login/callback/"]
    assert set(query["scope"][0].split()) == {"openid", "profile", "email"}


def test_query_of_the_portal_does_not_reach_the_provider(client):
    answer = client.get("/accounts/oidc/login/", {"scope": "admin", "auth_params": "acr=0", "process": "connect"})
    assert "admin" not in answer["Location"]
    assert "acr" not in answer["Location"]


def test_new_person_becomes_a_user_with_the_claimed_roles(client, sign_in):
    answer = sign_in()
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    user = User.objects.get()
    assert (user.username, user.email, user.first_name, user.is_staff, user.is_superuser) == (
        "jo", "jo@example.org", "Jo", True, False,
    )  # fmt: skip
    assert role_names(user) == {"operator"}
    assert not user.has_usable_password()
    assert client.get("/admin/agents/agent/").status_code == 200
    assert SocialAccount.objects.get().extra_data == {}
    assert not SocialToken.objects.exists()
    assert not EmailAddress.objects.exists()
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"user.created_by_single_sign_on", "user.linked_to_single_sign_on", "user.roles_claimed"} <= actions


def test_roles_follow_the_claim_at_each_sign_in(client, sign_in):
    sign_in()
    user = User.objects.get()
    user.groups.add(Group.objects.create(name="our own"))
    sign_in(browser=Client(), roles="viewer", email="renamed@example.org")
    assert role_names(user) == {"viewer", "our own"}
    answer = sign_in(browser=Client(), roles=["nothing"])
    assert answer["Location"] == "/accounts/login/"
    assert role_names(user) == {"our own"}
    user.refresh_from_db()
    assert not user.is_staff
    assert client.get("/admin/agents/agent/").status_code in (302, 403)


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"email_verified": False}, "has not verified"),
        ({"email": "jo@example.com"}, "e-mail domain"),
        ({"email": "jo@example.org.evil.com"}, "e-mail domain"),
        ({"roles": []}, "no role"),
        ({"roles": {"operator": True}}, "no role"),
        ({"roles": "superuser"}, "no role"),
    ],
)
def test_person_without_access_does_not_become_a_user(client, sign_in, claims, sentence):
    answer = sign_in(**claims)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert sentence in error_on_page(client)
    assert not User.objects.exists()
    assert AuditEvent.objects.get().action == "refused.single_sign_on"


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}),
        ("https://x/roles", {"https://x/roles": ["staff"]}),
    ],
)
def test_role_claim_may_be_nested_or_a_url(sign_in, settings, claim, claims):
    settings.OIDC_ROLE_CLAIM = claim
    sign_in(**claims)
    assert role_names(User.objects.get()) == {"staff"}


def test_user_with_the_verified_address_is_linked(client, sign_in):
    user = User.objects.create_user("josephine", "JO@example.org", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    assert sign_in()["Location"] == "/admin/"
    assert User.objects.get() == user
    assert role_names(user) == {"operator"}


@pytest.mark.parametrize("email", ["adm\u0131n@example.org", "admin\u212a@example.org"])
def test_similar_looking_address_links_no_user(sign_in, email):
    admins = [User.objects.create_user(name, f"{name}@example.org") for name in ("admin", "admink")]
    sign_in(email=email)
    assert not SocialAccount.objects.filter(user__in=admins).exists()


def test_two_simultaneous_first_sign_ins_create_one_user(client, sign_in, monkeypatch):
    """Interleave them: the second finds no user and no link yet, and loses the race to create them."""
    sign_in(browser=Client())
    monkeypatch.setattr(oidc, "user_for", lambda *args: None)
    monkeypatch.setattr(oidc.SocialLogin, "_lookup_by_socialaccount", lambda self: False)
    assert sign_in()["Location"] == "/accounts/login/"
    assert User.objects.count() == 1


def test_invited_user_may_accept_by_single_sign_on(client, sign_in, rf):
    request = rf.post("/")
    request.user = User.objects.create_superuser("root")
    user = invitations.invite_user(request, "jo@example.org", ("", ""), Group.objects.filter(name="viewer"))
    link = urlsplit(invitations.invitation_link(user)).path
    assert Client().get(link).status_code == 200
    assert sign_in()["Location"] == "/admin/"
    user.refresh_from_db()
    assert not invitations.is_pending(user)
    assert Client().get(link).status_code == 404
    assert role_names(user) == {"operator"}


def test_user_of_single_sign_on_gets_no_password(client, sign_in):
    sign_in()
    assert client.get("/accounts/password/set/").status_code == 403
    new = "a quite long new one"
    assert client.post("/accounts/password/set/", {"password1": new, "password2": new}).status_code == 403
    assert not User.objects.get().has_usable_password()


def test_second_factor_is_left_to_the_provider(client, sign_in, settings):
    """Require the portal's own factor only of password sessions and of users who have set one up."""
    settings.SECOND_FACTOR = "required"
    sign_in()
    user = User.objects.get()
    assert client.session[DUE] is None
    TOTP.activate(user, generate_totp_secret())
    assert sign_in(browser=Client())["Location"].startswith("/accounts/2fa/authenticate/")
    user.authenticator_set.all().delete()
    user.set_password("correct horse battery")
    user.save()
    by_password = Client()
    by_password.force_login(user)
    assert by_password.session[DUE] is not None


@pytest.mark.parametrize("is_linked", [False, True])
def test_superuser_is_refused(client, sign_in, is_linked):
    user = User.objects.create_user("jo", "jo@example.org", is_staff=True, is_superuser=not is_linked)
    if is_linked:
        sign_in(browser=Client())
        User.objects.update(is_superuser=True)
    assert sign_in()["Location"] == "/accounts/login/"
    assert "Superusers" in error_on_page(client)
    assert SocialAccount.objects.filter(user=user).exists() is is_linked


def test_inactive_or_ambiguous_user_is_refused(client, sign_in):
    user = User.objects.create_user("jo", "jo@example.org", is_active=False)
    assert sign_in()["Location"] == "/accounts/login/"
    User.objects.create_user("jo2", "jo@example.org")
    assert sign_in()["Location"] == "/accounts/login/"
    assert not SocialAccount.objects.filter(user=user).exists()
    assert "_auth_user_id" not in client.session


def test_other_state_or_nonce_is_refused(client, sign_in, monkeypatch):
    assert sign_in(changed_query={"state": "another"})["Location"] == "/accounts/login/"
    decode = oidc.decode_id_token
    monkeypatch.setattr(oidc, "decode_id_token", lambda *given: decode(*given) | {"nonce": "another"})
    assert sign_in()["Location"] == "/accounts/login/"
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"iss": "https://evil.example.org"},
        {"exp": 1},
        {"sub": None},
        {"key": "another"},
        {"alg": "none"},
    ],
)
def test_id_token_for_another_or_by_another_is_invalid(changes):
    key, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "1"}
    now = int(time.time())
    claims = {"iss": "https://login", "aud": "vigie", "sub": "jo", "iat": now, "exp": now + 60}
    assert (
        oidc.decode_id_token(jwt.encode(claims, key, "RS256"), {"keys": [public]}, "https://login", "vigie")["sub"]
        == "jo"
    )
    signer, algorithm = other if "key" in changes else key, changes.get("alg", "RS256")
    bad = jwt.encode(
        {name: value for name, value in (claims | changes).items() if value is not None},
        None if algorithm == "none" else signer,
        algorithm,
    )
    with pytest.raises(jwt.PyJWTError):
        oidc.decode_id_token(bad, {"keys": [public]}, "https://login", "vigie")


def test_answer_about_someone_else_is_refused(client, sign_in, monkeypatch):
    monkeypatch.setattr(oidc.OIDCAdapter, "_fetch_user_info", lambda self, token: CLAIMS | {"sub": "mallory"})
    assert sign_in()["Location"] == "/accounts/login/"
    assert not User.objects.exists()


def test_verified_address_of_the_id_token_counts_before_another_of_the_user_info(client, sign_in, monkeypatch):
    boss, decode = User.objects.create_user("boss", "boss@example.org"), oidc.decode_id_token
    monkeypatch.setattr(oidc, "decode_id_token", lambda *given: decode(*given) | CLAIMS)
    sign_in(email="boss@example.org", email_verified=None)
    assert not SocialAccount.objects.filter(user=boss).exists()
    assert User.objects.filter(email="jo@example.org").exists()


def test_unreachable_provider_redirects_to_the_sign_in_page(client, settings):
    settings.SOCIALACCOUNT_PROVIDERS = single_sign_on(issuer="http://127.0.0.1:9").providers()
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    answer = client.get("/accounts/oidc/login/")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert "Single sign-on failed" in error_on_page(client)


def test_discovery_document_of_another_issuer_is_refused(client, provider):
    assert client.get("/accounts/oidc/login/")["Location"].startswith(provider)
    until, config = oidc.OIDCAdapter.kept
    oidc.OIDCAdapter.kept = (until, config | {"issuer": "https://evil.example.org"})
    assert client.get("/accounts/oidc/login/")["Location"] == "/accounts/login/"


def test_hanging_provider_blocks_one_thread(client):
    with oidc.OIDCAdapter.asking:
        assert client.get("/accounts/oidc/login/")["Location"] == "/accounts/login/"
    assert client.get("/accounts/oidc/login/")["Location"] != "/accounts/login/"


def test_provider_in_a_private_network_is_called_and_at_a_metadata_address_not(client, settings):
    settings.PROBE_ALLOW_PRIVATE = False
    assert client.get("/accounts/oidc/login/")["Location"].startswith(settings.OIDC_ISSUER)
    settings.OIDC_ISSUER = "http://169.254.169.254"
    settings.SOCIALACCOUNT_PROVIDERS = single_sign_on(issuer=settings.OIDC_ISSUER).providers()
    oidc.OIDCAdapter.kept = (0.0, {})
    assert client.get("/accounts/oidc/login/")["Location"] == "/accounts/login/"
    assert "Single sign-on failed" in error_on_page(client)


def test_discovery_document_is_fetched_once(client, monkeypatch):
    asked = []
    get = requests.Session.get
    monkeypatch.setattr(requests.Session, "get", lambda self, *a, **k: asked.append(a) or get(self, *a, **k))
    for _ in range(3):
        client.get("/accounts/oidc/login/")
    assert len(asked) == 1


def test_button_is_shown_only_if_single_sign_on_is_configured(client, settings):
    assert "/accounts/oidc/login/" in error_on_page(client)
    settings.OIDC_ISSUER = ""
    assert "/accounts/oidc/login/" not in error_on_page(client)
    assert client.get("/accounts/oidc/login/").status_code == 404
    assert client.get("/accounts/oidc/login/callback/").status_code == 404


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"issuer": "http://login.example.org"}, "OIDC_ISSUER must"),
        ({"issuer": "login.example.org"}, "OIDC_ISSUER must"),
        ({"issuer": ""}, "OIDC_CLIENT_ID is set without"),
        ({"client_id": ""}, "needs OIDC_CLIENT_ID"),
        ({"secret": ""}, "needs OIDC_CLIENT_SECRET"),
        ({"domains": []}, "needs OIDC_ALLOWED_DOMAINS"),
        ({"domains": ["@example.org"]}, "OIDC_ALLOWED_DOMAINS must"),
        ({"domains": ["org"]}, "OIDC_ALLOWED_DOMAINS must"),
        ({"role_claim": ""}, "OIDC_ROLE_CLAIM"),
    ],
)
def test_invalid_setting_is_named_in_the_error(given, name):
    single_sign_on().check()
    with pytest.raises(ImproperlyConfigured, match=name):
        single_sign_on(**given).check()
