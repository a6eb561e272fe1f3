"""Sessions of users who are signed in: what is kept of them, how long they last, and how they end."""

from datetime import timedelta
from importlib import import_module
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from portal import audit
from portal.access.preferences import copy_preferences
from portal.access.signin import second_factor
from portal.access.signin.user_agents import summarize_user_agent

# In the session: when it was last written, and when a second factor is due. Each request reads them without a query.
SEEN, DUE = "seen", "second_factor_due"
# A session is written this often at most, and ends by idleness this much too early at most.
REFRESHED_EVERY = timedelta(minutes=5)
# Whoever changes one of these of a user changes who may sign in as them, or what they may do.
WATCHED = ("password", "is_active", "is_staff", "is_superuser")


# --- What is kept ----------------------------------------------------------------------------------------------------


@receiver(pre_save, sender=UserSession)
def reduce_user_agent(instance: UserSession, **_: Any) -> None:
    """Keep the names of browser and system instead of all that the browser sent."""
    instance.user_agent = summarize_user_agent(instance.user_agent)


@receiver(user_logged_in)
def begin_session(request: HttpRequest | None, user: User, **_: Any) -> None:
    if request is not None:
        UserSession.objects.create_from_request(request, user=user)
        stamp_session(request, user)


def stamp_session(request: HttpRequest, user: User) -> None:
    copy_preferences(request, user.pk)
    due = None if is_by_provider(request, user) else second_factor.due_at(user)
    request.session[SEEN] = timezone.now().timestamp()
    request.session[DUE] = due.timestamp() if due else None


def is_by_provider(request: HttpRequest, user: User) -> bool:
    """Return whether single sign-on has begun the session: the second factor is the provider's business then."""
    return any(record["method"] == "socialaccount" for record in get_authentication_records(request, user))


def refresh_session(request: HttpRequest) -> None:
    """Keep the session for another idle time, and note where it was last seen."""
    address = get_adapter().get_client_ip(request)
    known = UserSession.objects.filter(session_key=request.session.session_key)
    if not known.update(last_seen_at=timezone.now(), ip=address):
        UserSession.objects.create_from_request(request)
    stamp_session(request, request.user)  # type: ignore[arg-type]


def is_fresh(request: HttpRequest) -> bool:
    return bool(timezone.now().timestamp() - request.session.get(SEEN, 0) < REFRESHED_EVERY.total_seconds())


@receiver([post_save, post_delete], sender=Authenticator)
def expire_stamp(created: bool = True, **_: Any) -> None:
    """A factor was added or removed: what the session says of one that is due is out of date."""
    if created and context.request is not None:
        context.request.session.pop(SEEN, None)


def live_sessions(user: User) -> QuerySet[UserSession]:
    """The user's sessions that have not ended by idleness, the last seen first."""
    keys = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    sessions: QuerySet[UserSession] = UserSession.objects.filter(user=user, session_key__in=keys)
    return sessions.order_by("-last_seen_at", "-pk")


# --- How they end ----------------------------------------------------------------------------------------------------


def end_sessions(of_users: QuerySet[UserSession], keep: str | None = None) -> int:
    """End sessions as a sign-out would, all but `keep`. Return how many."""
    store, ended = import_module(settings.SESSION_ENGINE).SessionStore, 0
    for session in of_users.exclude(session_key=keep):
        store(session.session_key).flush()
        session.delete()
        ended += 1
    return ended


def end_other_sessions(user: User) -> int:
    """End the user's sessions but the one of this request, and put that on record."""
    request = context.request
    is_own = request is not None and getattr(request, "user", None) == user
    keep = request.session.session_key if request is not None and is_own else None
    ended = end_sessions(UserSession.objects.filter(user=user), keep)
    if ended:
        audit.record_event("user.sessions_ended", audit.user_subject(user), request=request, after={"sessions": ended})
    return ended


@receiver(pre_save, sender=User)
def note_changed_access(instance: User, update_fields: Any, **_: Any) -> None:
    written = WATCHED if update_fields is None else [name for name in WATCHED if name in update_fields]
    before = User.objects.filter(pk=instance.pk).values(*written).first() if written and instance.pk else None
    instance.access_changed = before is not None and any(  # type: ignore[attr-defined]
        before[name] != getattr(instance, name) for name in written
    )


@receiver(post_save, sender=User)
def end_after_changed_access(instance: User, **_: Any) -> None:
    if getattr(instance, "access_changed", False):
        end_other_sessions(instance)


def end_after_changed_rights(
    sender: Any, action: str, instance: Any, reverse: bool, pk_set: set[Any] | None, **_: Any
) -> None:
    """Handle groups and permissions of users, and permissions of groups, changed from either side."""
    if action not in ("post_add", "post_remove", "pre_clear") or pk_set == set():
        return
    changed: type[User | Group] = Group if sender is Group.permissions.through else User
    if not reverse:
        keys = {instance.pk}
    elif pk_set is None:
        keys = set(getattr(instance, f"{changed._meta.model_name}_set").values_list("pk", flat=True))
    else:
        keys = pk_set
    end_sessions_of(User.objects.filter(**{"pk__in" if changed is User else "groups__in": keys}))


def end_sessions_of(users: QuerySet[User]) -> None:
    for user in users.distinct():
        end_other_sessions(user)


@receiver(pre_delete, sender=Group)
def end_after_deleted_group(instance: Group, **_: Any) -> None:
    end_sessions_of(instance.user_set.all())


for through in (User.groups.through, User.user_permissions.through, Group.permissions.through):
    m2m_changed.connect(end_after_changed_rights, sender=through)
