"""Issuing tokens, showing them once, and revoking them."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from portal.access.tokens import credential
from portal.access.tokens.issuing import issue_token
from portal.admin.tokens import ApiTokenAdmin
from portal.models import ApiToken, AuditEvent
from portal.tests.helpers.admin_pages import page_text

pytestmark = pytest.mark.django_db
ADD = "/admin/portal/apitoken/add/"
LIST = "/admin/portal/apitoken/"


@pytest.fixture
def ask(admin_client):
    """Return a function that fills in the token form."""

    def asking(client=admin_client, **fields):
        return client.post(ADD, {"kind": "enroll", "label": "Paris office", "lifetime": "7"} | fields)

    return asking


@pytest.fixture
def operator(client):
    user = User.objects.create_user("olga", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_apitoken"))
    client.force_login(user)
    return user


def shown(response):
    return re.search(r'<code id="token">([^<]+)</code>', response.content.decode())[1]


def test_new_token_is_shown_once_and_works(ask, call):
    response = ask(max_uses="3", may_uninstall="on")
    plain, token = shown(response), ApiToken.objects.get()
    assert credential.parse_token(plain).key == token.key
    assert (token.kind, token.label, token.max_uses, token.scopes) == ("enroll", "Paris office", 3, ["uninstall"])
    assert timedelta(days=6) < token.expires_at - timezone.now() < timedelta(days=8)
    assert call("POST", "agents/enroll", plain, machine_id="PC-1").status_code == 201


def test_token_page_is_not_cached_and_not_shown_again(ask, admin_client):
    response = ask()
    assert "no-store" in response["Cache-Control"]
    plain = shown(response)
    for path in (LIST, reverse("admin:portal_apitoken_change", args=[ApiToken.objects.get().pk])):
        assert plain.split("_")[3] not in admin_client.get(path).content.decode()
    assert plain.split("_")[3] not in str(list(AuditEvent.objects.values()))


def test_help_of_the_form_has_the_ids_that_its_fields_refer_to(admin_client):
    text = page_text(admin_client.get(ADD))
    described = re.findall(r'aria-describedby="([^"]+)"', text)
    assert "id_max_uses_helptext" in described
    assert [name for name in described if f'id="{name}"' not in text] == []
    assert '<div class="form-row field-user" data-for="staff">' in text


def test_issued_token_names_its_issuer(ask):
    ask()
    assert ApiToken.objects.get().created_by == "user:admin"
    assert AuditEvent.objects.get(action="token.issued").actor == "user:admin"


def test_token_without_expiry_must_be_requested_explicitly(ask):
    ask(lifetime="")
    assert ApiToken.objects.get().expires_at is None


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    ("fields", "error"),
    [({"label": ""}, "required"), ({"kind": "agent"}, "Select a valid choice"), ({"kind": "staff"}, "needs a user"),
     ({"for_machine": "../x"}, "not a machine ID."), ({"kind": "client", "app_names": "gui, a/b"}, "in each name"),
     ({"max_uses": "0"}, "greater than or equal to 1"), ({"lifetime": "9999"}, "Select a valid choice")],
)  # fmt: skip
def test_invalid_form_issues_no_token(ask, fields, error):
    response = ask(**fields)
    assert error in response.content.decode()
    assert not ApiToken.objects.exists()


def test_fields_of_another_kind_are_ignored(ask, admin_user):
    ask(kind="client", max_uses="3", may_uninstall="on", user=admin_user.pk)
    token = ApiToken.objects.get()
    assert (token.max_uses, token.scopes, token.user) == (None, [], None)


def test_token_is_bound_to_what_the_form_selects(ask, admin_client):
    ask(kind="client", label="apps", app_names=" gui_v6, batch,, batch ", for_machine="PC-1")
    ask(kind="enroll", label="machine", app_names="gui_v6", for_machine="PC-1")
    bound = ApiToken.objects.order_by("pk").values_list("app_names", "for_machine")
    assert list(bound) == [(["gui_v6", "batch"], ""), ([], "PC-1")]
    page = admin_client.get(LIST).content.decode()
    assert "gui_v6, batch" in page
    assert "PC-1" in page


def test_query_of_the_form_prefills_no_rights(admin_client):
    page = admin_client.get(ADD, {"kind": "enroll", "for_machine": "PC-1", "may_uninstall": "on", "label": "x"})
    form = page.context["form"]
    assert {name: form[name].value() for name in ("kind", "for_machine", "may_uninstall", "label")} == {
        "kind": "enroll", "for_machine": "PC-1", "may_uninstall": None, "label": None,
    }  # fmt: skip


def test_staff_token_acts_for_its_user(ask, admin_user, call):
    plain = shown(ask(kind="staff", user=admin_user.pk))
    assert call("GET", "agents/fleet", plain).status_code == 200


def test_operator_cannot_issue_a_token_for_another_user(ask, client, operator, admin_user):
    assert "Select a valid choice" in ask(client, kind="staff", user=admin_user.pk).content.decode()
    assert ask(client, kind="staff", user=operator.pk).status_code == 200
    assert ApiToken.objects.get().user == operator


def test_issuing_and_revoking_require_permissions(client, operator):
    operator.user_permissions.set(Permission.objects.filter(codename="view_apitoken"))
    client.force_login(operator)  # a change of rights ended the session
    token, _ = issue_token("client", label="gui")
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"kind": "enroll", "label": "x", "lifetime": ""}).status_code == 403
    client.post(LIST, {"action": "revoke_chosen", "_selected_action": [token.pk], "confirmed": "yes"})
    act = reverse("admin:portal_apitoken_act", args=[token.pk, "revoke_chosen"])
    assert client.post(act, {"confirmed": "yes"}).status_code == 403
    token.refresh_from_db()
    assert token.revoked_at is None


def test_revoked_token_stops_working_and_is_audited(admin_client, call):
    token, plain = issue_token("enroll", label="x")
    page = reverse("admin:portal_apitoken_change", args=[token.pk])
    act = reverse("admin:portal_apitoken_act", args=[token.pk, "revoke_chosen"])
    response = admin_client.post(act, {"confirmed": "yes"}, follow=True)
    assert response.redirect_chain[-1][0] == page
    assert "1 token was revoked." in response.content.decode()
    assert call("POST", "agents/enroll", plain, machine_id="PC-1").json()["code"] == "token_revoked"
    assert AuditEvent.objects.get(action="token.revoked").actor == "user:admin"


def test_state_of_a_token_has_a_label_and_a_filter(admin_client):
    now = timezone.now()
    issue_token("enroll", label="usable without limit")
    issue_token("enroll", label="usable", max_uses=2, expires_at=now + timedelta(days=1))
    issue_token("enroll", label="expired", expires_at=now - timedelta(days=1))
    used, _ = issue_token("enroll", label="exhausted", max_uses=1)
    gone, _ = issue_token("enroll", label="revoked")
    ApiToken.objects.filter(pk=used.pk).update(uses=1)
    ApiToken.objects.filter(pk=gone.pk).update(revoked_at=now)
    for state, (word, labels) in {
        "usable": ("active", {"usable", "usable without limit"}), "expired": ("expired", {"expired"}),
        "exhausted": ("used up", {"exhausted"}), "revoked": ("revoked", {"revoked"}),
    }.items():  # fmt: skip
        response = admin_client.get(LIST, {"state": state})
        assert {token.label for token in response.context["cl"].queryset} == labels
        assert re.search(rf'class="badge [^"]*">{word}<', response.content.decode())


def test_machine_tokens_are_hidden_by_default(admin_client, agent_token):
    issue_token("client", label="gui")

    def labels(**query):
        return {token.label for token in admin_client.get(LIST, query).context["cl"].queryset}

    assert labels() == {"gui"}
    assert labels(kind="all") == {"gui", "PC-1"}
    assert labels(kind="agent") == labels(q="PC") == {"PC-1"}


@pytest.mark.parametrize(
    ("kind", "max_uses", "uses", "shown"),
    [("enroll", 10, 3, "7 of 10"), ("enroll", 1, 1, "0 of 1"), ("enroll", None, 2, "unlimited (2 used)"), ("client", None, 0, "–")],
)  # fmt: skip
def test_uses_left_are_shown(kind, max_uses, uses, shown):
    token = ApiToken(kind=kind, max_uses=max_uses, uses=uses)
    assert ApiTokenAdmin(ApiToken, admin.site).uses_left(token) == shown


def test_label_of_a_checkbox_has_no_colon(admin_client):
    assert ">Can also uninstall machines</label>" in admin_client.get(ADD).content.decode()


@pytest.mark.parametrize(("url", "is_warned"), [("http://testserver", False), ("http://127.0.0.1:8000", True)])
@pytest.mark.parametrize(
    ("kind", "keys"),
    [("enroll", {"shell", "powershell", "inno", "python", "backup"}), ("client", {"curl", "feedback"}), ("staff", {"api"})],
)  # fmt: skip
def test_new_token_comes_with_the_guides_of_its_kind(admin_client, admin_user, settings, kind, keys, url, is_warned):
    settings.PORTAL_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["*"]
    fields = {"kind": kind, "label": "x", "lifetime": "30", "user": admin_user.pk}
    response = admin_client.post(f"{LIST}add/", fields, headers={"host": url.partition("://")[2]})
    guides = response.context["guides"]
    assert {guide.key for guide in guides} == keys
    assert all(any(url in snippet.text for snippet in guide.snippets) for guide in guides)
    assert bool(response.context["local_url"]) == is_warned
