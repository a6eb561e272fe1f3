"""The admin of messages: read-only rows with status and error, and actions to retry or give up."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from portal.admin.base import ReadOnlyAdmin
from portal.admin.confirm import Confirmation, confirm_first
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, FieldFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.base.findings import Severity
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE
from portal.models import ChannelState, NotificationChannel, OutboxMessage
from portal.notifications.outbox import retry_messages
from portal.querysets import OutboxMessageQuerySet

Status = OutboxMessage.Status
TONES = {Status.WAITING: WARNING, Status.SENT: GOOD, Status.FAILED: BAD, Status.GIVEN_UP: QUIET}
SEVERITY_TONES = {Severity.CRITICAL: BAD, Severity.WARNING: WARNING, Severity.INFO: QUIET}


class StatusFilter(FieldFilter):
    title = _("status")
    parameter_name = "status"
    field = "status"
    options = dict(Status.choices)


class SeverityFilter(ChoiceFilter):
    title = _("severity")
    parameter_name = "severity"
    options = {severity.name.lower(): severity.label for severity in Severity}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(severity=Severity[value.upper()])


class WrittenFilter(PeriodFilter):
    title = _("time")
    parameter_name = "when"
    field = "created_at"


def describe_discarding(model_admin: Any, request: HttpRequest, queryset: OutboxMessageQuerySet) -> Confirmation:
    count = queryset.count()
    text = ngettext("%(count)d message will no longer be sent.", "%(count)d messages will no longer be sent.", count)
    undo = _("To undo it, retry the messages from this list.")
    return Confirmation(_("Discard messages"), _("Discard"), [text % {"count": count}, undo])


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    menu_group = "system"
    ordering = ("-id",)
    sortable_by = ()
    list_display = (
        "headline",
        "outcome",
        "how_bad",
        "to",
        moment_column("created_at", _("created")),
        "attempts",
        "error",
    )
    list_filter = (StatusFilter, SeverityFilter, WrittenFilter)
    purpose = _("Notifications to each recipient and their delivery. The portal writes them when something happens.")
    empty_link = ("admin:portal_notificationchannel_add", _("Add a channel"))
    is_log = True
    search_fields = ("subject__fragment", "recipient__fragment", "title__fragment")
    search_help_text = search_by(_("subject"), _("recipient"), _("title"))
    actions = ("try_now", "give_up", "export_chosen", "export_chosen_xlsx")
    object_actions = ("try_now", "give_up")
    facts = (
        "outcome",
        "how_bad",
        "subject",
        "state",
        "title",
        "text",
        "page",
        "by",
        "recipient",
        moment_column("created_at", _("created"), show=exact_moment),
        "attempts",
        moment_column("next_attempt_at", _("next attempt"), show=exact_moment),
        moment_column("finished_at", _("finished"), show=exact_moment),
        "error",
        "dedupe_key",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxMessage]:
        return OutboxMessage.objects.with_channel_names(NotificationChannel.objects.all())

    def indexed_matches(self, text: str) -> Q:
        return Q(subject__begins=text) | Q(recipient__begins=text)

    @admin.display(description=_("status"))
    def outcome(self, message: OutboxMessage) -> SafeString:
        return badge(message.get_status_display(), TONES[Status(message.status)])

    @admin.display(description=_("severity"))
    def how_bad(self, message: OutboxMessage) -> SafeString:
        return badge(message.get_severity_display(), SEVERITY_TONES[Severity(message.severity)])

    @admin.display(description=_("title"))
    def headline(self, message: OutboxMessage) -> str:
        return truncate_text(message.title, 80)

    @admin.display(description=_("recipient"))
    def to(self, message: OutboxMessage) -> str:
        """Show the address of a mail, else the channel's name."""
        return message.recipient if "@" in message.recipient[1:] else self.by(message)

    @admin.display(description=_("link"))
    def page(self, message: OutboxMessage) -> str:
        return format_html('<a href="{0}">{0}</a>', message.path) if message.path else EMPTY_VALUE

    @admin.display(description=_("channel"))
    def by(self, message: OutboxMessage) -> str:
        return getattr(message, "channel_name", None) or message.channel

    # --- Actions -----------------------------------------------------------------------------------------------------

    def can_act(self, obj: OutboxMessage, action: str) -> bool:
        if action == "give_up":
            return obj.status in {Status.WAITING, Status.FAILED}
        return obj.status != Status.SENT

    @admin.action(description=_("Retry"), permissions=["manage"])
    def try_now(self, request: HttpRequest, queryset: OutboxMessageQuerySet) -> None:
        count, channels = retry_messages(queryset)
        text = ngettext("Retrying %(count)d message.", "Retrying %(count)d messages.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)
        if ChannelState.objects.filter(channel__in=channels).exclude(disabled_at=None).exists():
            self.message_user(
                request, _("A channel is disabled. Its messages wait until you re-enable it."), messages.WARNING
            )

    @confirm_first(describe_discarding)
    @admin.action(description=_("Discard…"), permissions=["manage"])
    def give_up(self, request: HttpRequest, queryset: OutboxMessageQuerySet) -> None:
        count = queryset.give_up(timezone.now())
        text = ngettext("%(count)d message discarded.", "%(count)d messages discarded.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    give_up.dangerous = True  # type: ignore[attr-defined]
