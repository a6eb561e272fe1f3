"""A database with one row of every model, and one caller of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.db import models
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from backups.models import ExpectedBackupJob
from beta.models import BetaProgramme, BetaSnapshot
from beta.report.snapshots import take_snapshot
from monitoring.models import Target
from portal.access import roles
from portal.access.signin.sessions import SEEN
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken
from usage.guardian.summary import build_summary
from usage.models import GuardianReport

TOKENS = ("expired", "revoked", "enroll", "agent", "client")
USERS = ("viewer", "staff", "operator", "superuser")
# Users who should get nowhere: not active, not staff though an operator once, and staff without a role.
OUTSIDERS = ("inactive", "plain", "bare")
MACHINE, OTHER_MACHINE, KEY, BADGE, GONE = "PC-1", "PC-2", "k" * 22, "b" * 22, "999999"


@dataclass(frozen=True)
class Caller:
    """The credentials of a request: a token, a session cookie, or neither."""

    name: str
    token: str = ""
    session: str = ""


@dataclass(frozen=True)
class World:
    callers: dict[str, Caller]
    rows: dict[str, Any]


def make_world() -> World:
    """Fill the database; the caller rolls it back."""
    roles.synchronise_roles()
    callers = [Caller("nobody"), *callers_by_token(), *callers_by_user()]
    return World({caller.name: caller for caller in callers}, rows())


def callers_by_token() -> list[Caller]:
    now = timezone.now()
    agent = Agent.objects.create(machine_id=MACHINE, enrolled_at=now, last_seen_at=now)
    Agent.objects.create(machine_id=OTHER_MACHINE, enrolled_at=now, last_seen_at=now)
    shown = {
        "expired": issue_token("client", label="old", expires_at=now - timedelta(days=1))[1],
        "revoked": issue_token("client", label="lost")[1],
        "enroll": issue_token("enroll", label="installer")[1],
        "agent": issue_agent_token(agent),
        "client": issue_token("client", label="gui")[1],
    }
    ApiToken.objects.filter(label="lost").update(revoked_at=now)
    return [Caller(name, token=shown[name]) for name in TOKENS]


def callers_by_user() -> list[Caller]:
    """Return each user with a session, and those who may have one with a staff token."""
    found = []
    for name in (*OUTSIDERS, *USERS):
        is_superuser = name == "superuser"
        user = User.objects.create(username=name, is_staff=name != "plain", is_superuser=is_superuser)
        user.groups.set(Group.objects.filter(name=roles.OPERATOR if name in ("inactive", "plain") else name))
        found.append(Caller(f"session:{name}", session=session_of(user)))
        if name != "inactive":
            found.append(Caller(f"token:{name}", token=issue_token("staff", user=user)[1]))
    User.objects.filter(username="inactive").update(is_active=False)
    return found


def session_of(user: User) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[SEEN] = timezone.now().timestamp()  # else each of thousands of requests would write it anew
    session.save()
    return str(session.session_key)


# --- Rows ------------------------------------------------------------------------------------------------------------


def rows() -> dict[str, Any]:
    """Return the primary key of one row of each model of the admin, by `app/model`."""
    programme = BetaProgramme.objects.create(name="beta", public_key=KEY, ends=None)
    ExpectedBackupJob.objects.create(agent_id=MACHINE, database_name="stock")
    Target.objects.create(name="API", url="https://api.example.org/", badge_key=BADGE)
    now = timezone.now()
    period = build_summary(now - timedelta(hours=2), now)
    GuardianReport.objects.create(
        **{"period_start": now - timedelta(hours=2), "period_end": now, "created_at": now, "data": period}
    )
    take_snapshot(programme, now, BetaSnapshot.Reason.EXPORTED)
    return {f"{model._meta.app_label}/{model._meta.model_name}": first_row(model).pk for model in admin.site._registry}


def first_row(model: type[models.Model]) -> Any:
    found = model._base_manager.order_by("pk").first()
    return found if found is not None else made_up(model)


def made_up(model: type[models.Model]) -> Any:
    """Create a row with a value in every required column."""
    fields = [field for field in model._meta.concrete_fields if not (field.primary_key or field.null)]
    values = {field.name: value_for(field) for field in fields if not field.has_default() or field.unique}
    return model._base_manager.create(**values)


def value_for(field: Any) -> Any:
    if field.is_relation:
        return first_row(field.related_model)
    if field.choices:
        return field.choices[0][0]
    match field:
        case models.DateTimeField():
            return timezone.now()
        case models.UUIDField():
            return uuid4()
        case models.JSONField():
            return []
        case models.CharField() | models.TextField():
            return "x"
        case _:
            return 1
