"""Personal data in the portal's own tables: accounts, tokens, the audit trail, messages and background work.

Few of these columns have an index that helps, so the tables are read as a whole. The longest, the audit trail and the
messages, are kept for a year and for ninety days.
"""

from collections.abc import Iterator
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.models import Task

from portal.base.encryption import Unreadable, decrypt
from portal.models import (
    ApiToken,
    ChannelState,
    FindingAcknowledgement,
    JobRun,
    NotificationChannel,
    OutboxMessage,
    Preferences,
    SecondFactorGrace,
    TaskAttempt,
)
from portal.privacy.registry import NEVER_SHOWN, PersonalDataTable, Row, personal_data
from portal.privacy.subjects import Subject, users_of
from portal.work.jobs import Lease
from portal.work.retention import BATCH

User = get_user_model()
# Shown in an export in place of texts that may name others.
LEFT_OUT = "[left out]"
UNSENT = (OutboxMessage.Status.WAITING, OutboxMessage.Status.FAILED)


# --- Accounts --------------------------------------------------------------------------------------------------------


def user_changes(user: Any, subject: Subject, pseudonym: str) -> Row:
    """Make the account unusable but keep it, so that what it did keeps an author."""
    is_first = users_of(subject).first() == user and not User._default_manager.filter(username=pseudonym).exists()
    return {
        "username": pseudonym if is_first else f"{pseudonym}-{user.pk}",
        "email": pseudonym,
        "first_name": "",
        "last_name": "",
        "is_active": False,
        "password": make_password(None),
    }


def refers_to_users(*columns: str) -> Any:
    """Return an owner condition: rows that refer to the subject's accounts by one of the columns."""

    def owned(subject: Subject) -> Q | None:
        found, condition = list(users_of(subject).values_list("pk", flat=True)), Q()
        for column in columns:
            condition |= Q(**{f"{column}__in": found})
        return condition if found else None

    return owned


personal_data.register(
    PersonalDataTable(User, owned=refers_to_users("pk"), also=user_changes, searched=lambda subject: ())
)


class OwnRows:
    """Rows that are a user's own and go with the account: factors, addresses and the list of sessions."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model
        self.label = model._meta.label

    def of(self, subject: Subject) -> QuerySet[Any]:
        return self.model._base_manager.filter(user__in=users_of(subject).values("pk"))

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        secret = NEVER_SHOWN | {"data"}
        columns = [field.attname for field in self.model._meta.concrete_fields if field.name not in secret]
        for row in self.of(subject):
            yield row.pk, {name: getattr(row, name) for name in columns}

    def count(self, subject: Subject) -> int:
        return self.of(subject).count()

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        with transaction.atomic():
            lease.extend()
            return self.of(subject).delete()[0]

    def remarks(self, subject: Subject) -> tuple[str, ...]:
        return ()


class Sessions(OwnRows):
    """The subject's sessions. Each has to be decoded to find out whose it is."""

    def of(self, subject: Subject) -> QuerySet[Any]:
        users = {str(pk) for pk in users_of(subject).values_list("pk", flat=True)}
        sessions = Session.objects.iterator(chunk_size=BATCH) if users else ()
        own = [session.pk for session in sessions if session.get_decoded().get("_auth_user_id") in users]
        return Session.objects.filter(pk__in=own)


def log_entry_changes(entry: LogEntry, subject: Subject, pseudonym: str) -> Row:
    """Replace the user name in entries about the account itself: in other entries it may be any word."""
    about_user = entry.content_type is not None and entry.content_type.model_class() is User
    return {"object_repr": pseudonym} if about_user and subject.is_named(entry.object_repr) else {}


personal_data.register(Sessions(Session))
for model in (UserSession, Authenticator, EmailAddress, SocialAccount, SecondFactorGrace, Preferences):
    personal_data.register(OwnRows(model))
personal_data.register(
    PersonalDataTable(
        LogEntry, texts=("object_repr", "change_message"), owned=refers_to_users("user"), also=log_entry_changes
    )
)

personal_data.register(
    PersonalDataTable(
        FindingAcknowledgement,
        names=("acknowledged_by",),
        texts=("key",),
        written=("comment",),
        owned=refers_to_users("assignee"),
        also=lambda row, subject, pseudonym: {"comment": ""} if subject.is_named(row.acknowledged_by) else {},
    )
)


# --- Tokens ----------------------------------------------------------------------------------------------------------


def token_changes(token: ApiToken, subject: Subject, pseudonym: str) -> Row:
    """Revoke tokens of a person or a machine, but none that the person only issued or is named in."""
    changes: Row = {"label": pseudonym} if is_labelled(token, subject) else {}
    own = token.user_id is not None and users_of(subject).filter(pk=token.user_id).exists()
    its = subject.is_machine and token.kind == ApiToken.Kind.AGENT and bool(changes)
    its |= bool(token.for_machine) and subject.is_machine_called(token.for_machine)
    if token.revoked_at is None and (own or its):
        changes |= {"revoked_at": timezone.now(), "revoked_reason": "erased"}
    return changes


def is_labelled(token: ApiToken, subject: Subject) -> bool:
    """Return True if the label names the subject: a machine, a person, or either for enrolment tokens."""
    if subject.is_machine:
        return token.kind in (ApiToken.Kind.AGENT, ApiToken.Kind.ENROLL) and subject.is_machine_called(token.label)
    return token.kind != ApiToken.Kind.AGENT and subject.is_named(token.label)


personal_data.register(
    PersonalDataTable(
        ApiToken,
        names=("created_by",),
        machines=("for_machine",),
        owned=refers_to_users("user"),
        also=token_changes,
        searched=lambda subject: ("label", "created_by", *(("for_machine",) if subject.is_machine else ())),
    )
)


# --- Messages --------------------------------------------------------------------------------------------------------


def message_changes(message: OutboxMessage, subject: Subject, pseudonym: str) -> Row:
    """Give up waiting messages to the subject, and replace the dedupe keys, which may hold the address."""
    if not subject.is_named(message.recipient):
        return {"dedupe_key": f"erased:{message.pk}"} if subject.is_in(message.dedupe_key) else {}
    changes: Row = {"dedupe_key": f"erased:{message.pk}"}
    if message.status in UNSENT:
        changes |= {"status": "given_up", "finished_at": timezone.now(), "next_attempt_at": None}
    return changes


def shown_message(message: OutboxMessage, subject: Subject) -> Row:
    """Show only the lines that name the subject: a message may name many people, as the guardian's reports do."""
    shown: Row = {name: lines_naming(getattr(message, name), subject) for name in ("text", "error")}
    if message.html:
        shown["html"] = LEFT_OUT
    if not subject.is_named(message.recipient):
        shown |= {"recipient": LEFT_OUT, "title": lines_naming(message.title, subject)}
    return shown


def lines_naming(text: str, subject: Subject) -> str:
    lines = text.splitlines()
    own = [line for line in lines if subject.is_in(line)]
    return text if len(own) == len(lines) else "\n".join([*own, LEFT_OUT])


def other_recipients(channel: NotificationChannel, subject: Subject) -> list[str]:
    """Return the recipients that are not the subject."""
    return [word for word in channel.addresses.split() if not subject.is_in(word)]


def channel_changes(channel: NotificationChannel, subject: Subject, pseudonym: str) -> Row:
    left = other_recipients(channel, subject)
    return {"addresses": "\n".join(left)} if len(left) < len(channel.addresses.split()) else {}


def shown_channel(channel: NotificationChannel, subject: Subject) -> Row:
    left = other_recipients(channel, subject)
    return {"addresses": "\n".join(word for word in channel.addresses.split() if word not in left)}


def channel_remarks(subject: Subject) -> Iterator[str]:
    if any(subject.is_named(address) for address in settings.GUARDIAN_RECIPIENTS):
        yield _("GUARDIAN_RECIPIENTS contains this address, which keeps receiving the usage digest: remove it there.")
    for channel in NotificationChannel.objects.order_by("pk"):
        if len(other_recipients(channel, subject)) < len(channel.addresses.split()):
            text = _("The recipient was removed from notification channel %(number)d.")
            yield text % {"number": channel.pk}
        try:
            secret = decrypt(channel.secret) if channel.secret else ""
        except Unreadable:
            continue
        if subject.is_in(secret):
            text = _("The secret of notification channel %(number)d contains this name: enter another secret.")
            yield text % {"number": channel.pk}


personal_data.register(
    PersonalDataTable(
        NotificationChannel,
        texts=("name",),
        elsewhere=("addresses",),
        also=channel_changes,
        shown=shown_channel,
        remarks=channel_remarks,
    )
)
personal_data.register(PersonalDataTable(ChannelState, texts=("last_error", "disabled_reason", "moved")))
personal_data.register(
    PersonalDataTable(
        OutboxMessage,
        names=("recipient",),
        texts=("subject", "title", "text", "html", "path", "error"),
        elsewhere=("dedupe_key",),
        indexed=("recipient",),
        also=message_changes,
        shown=shown_message,
    )
)


# --- Work ------------------------------------------------------------------------------------------------------------

personal_data.register(PersonalDataTable(JobRun, texts=("result", "error")))
personal_data.register(PersonalDataTable(TaskAttempt, texts=("name", "error")))


class FailedTasks(PersonalDataTable):
    """Failed tasks of django-q2. Their arguments are pickled, which no database can search, so all are read."""

    def holding_any(self, needles: Any, columns: Any) -> Any:
        return self.all_rows


personal_data.register(FailedTasks(Task, texts=("name", "args", "kwargs", "result", "group")))
