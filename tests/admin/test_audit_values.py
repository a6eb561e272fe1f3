"""The audit log holds the values of changed fields, and no secret of any form."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse

from agents.models import Agent
from portal.admin.changes import is_secret
from portal.admin.tokens import IssueForm
from portal.audit import HIDDEN
from portal.models import AuditEvent
from usage.tests.factories import create_licence

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("forms are compared in Python")]

SECRET = re.compile(r"secret|password|token|key|digest|pepper|apprise|credential|auth", re.IGNORECASE)
# Fields that are called like secrets, and are none.
PUBLIC = {
    "auth.user.usable_password": "whether a password is used",
}
CANARY = "K4NARI-0123456789"


def forms_of(request):
    """Yield every form of the admin that is saved: the model's label, its admin and an unbound form."""
    for model, model_admin in admin.site._registry.items():
        for obj in (None, model._default_manager.first()):
            if (model_admin.has_add_permission if obj is None else model_admin.has_change_permission)(request):
                yield model._meta.label_lower, model_admin, model_admin.get_form(request, obj, change=obj is not None)()


def test_every_field_called_like_a_secret_is_left_out(rf, admin_user, rows):
    request = rf.get("/")
    request.user = admin_user
    kept = {
        f"{label}.{name}"
        for label, model_admin, form in forms_of(request)
        for name in form.fields
        if SECRET.search(name) and not form.fields[name].disabled
        if not is_secret(form, name, model_admin.secret_fields)
    }
    assert kept - set(PUBLIC) == set()


def test_form_that_issues_tokens_shows_none_in_the_log():
    """Tokens are no field of a form: the log gets what was entered, and the token is made afterwards."""
    assert {name for name in IssueForm.base_fields if SECRET.search(name)} == set()


@pytest.mark.parametrize(
    "fields",
    [{"kind": "webhook", "url": "https://example.org/hook", "signing_key": CANARY},
     {"kind": "telegram", "chat_id": "-100", "bot_token": f"12345:{CANARY}{'x' * 20}"},
     {"kind": "apprise", "apprise_url": f"json://bob:{CANARY}@localhost"}],
)  # fmt: skip
def test_secret_of_a_channel_is_not_recorded(admin_client, fields):
    general = {"name": "C", "min_severity": "3", "is_active": "on"}
    assert admin_client.post(reverse("admin:portal_notificationchannel_add"), general | fields).status_code == 302
    assert AuditEvent.objects.get(action="channel.added").after["name"] == "C"
    assert CANARY not in str(list(AuditEvent.objects.values()))


def test_password_set_by_a_superuser_is_not_recorded(admin_client):
    page = reverse("admin:auth_user_password_change", args=[User.objects.create_user("bo").pk])
    fields = {"password1": CANARY, "password2": CANARY, "usable_password": "true"}
    assert admin_client.post(page, fields).status_code == 302
    assert AuditEvent.objects.get(action="user.changed").after == {"password": HIDDEN}
    assert CANARY not in str(list(AuditEvent.objects.values()))


def test_changed_quota_is_recorded_with_both_values_in_one_event(admin_client):
    licence = create_licence("LIC-1", quota=14_995)
    AuditEvent.objects.all().delete()
    page = reverse("admin:usage_licence_change", args=[licence.pk])
    fields = {"customer": licence.customer, "monthly_page_quota": "20000", "period_day": str(licence.period_day)}
    assert admin_client.post(page, fields).status_code == 302
    event = AuditEvent.objects.get()
    assert (event.before, event.after) == ({"monthly_page_quota": 14_995}, {"monthly_page_quota": 20_000})
    listed = admin_client.get(reverse("admin:portal_auditevent_changelist")).content.decode()
    assert "14,995 → 20,000" in listed
    assert "14,995 → 20,000" in admin_client.get(page).content.decode()


def test_subjects_of_every_app_lead_to_their_pages(admin_client, rows):
    machine = Agent.objects.first()
    answer = admin_client.get(reverse("admin:portal_auditevent_subject"), {"name": f"agent:{machine.machine_id}"})
    assert answer["Location"] == reverse("admin:agents_agent_change", args=[machine.pk])
