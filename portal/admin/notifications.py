"""The admin of notification channels: settings, state, tests and re-enabling."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from portal import audit
from portal.admin.channel_tools import ChannelTools, calls_left, describe_result, record_test
from portal.admin.confirm import Confirmation, confirm_first
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, FieldFilter
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.call_limits import TOO_MANY
from portal.desk.history import history_section
from portal.desk.panels import Section
from portal.models import ChannelState, NotificationChannel, OutboxMessage
from portal.notifications.configuration import ENVIRONMENT_CHANNELS, recipients_of
from portal.notifications.forms import ChannelForm
from portal.notifications.selftest import send_test_messages
from portal.notifications.states import audit_subject, synchronise_states
from portal.querysets import NotificationChannelQuerySet

Kind = NotificationChannel.Kind
MAX_TESTED_AT_ONCE = 3


def state_badge(is_active: bool, disabled_at: Any, failures: int | None, last_success_at: Any) -> SafeString:
    if not is_active:
        return badge(_("disabled"), QUIET)
    if disabled_at is not None:
        return badge(_("disabled after an error"), BAD)
    if failures:
        return badge(_("failing"), WARNING)
    return badge(_("working"), GOOD) if last_success_at is not None else badge(_("not used yet"), QUIET)


# --- Actions of operators --------------------------------------------------------------------------------------------


def enable_channels(keys: Iterable[str], request: HttpRequest) -> int:
    """Enable disabled or paused channels, so that the pulse delivers again. Return how many were disabled."""
    count = 0
    for state in ChannelState.objects.filter(channel__in=list(keys)):
        if ChannelState.objects.filter(pk=state.pk).enable() and state.disabled_at is not None:
            audit.record_event("channel.enabled", audit_subject(state.channel), request=request)
            count += 1
    return count


def send_test_and_report(channel: NotificationChannel, request: HttpRequest) -> None:
    results = send_test_messages(channel)
    record_test(channel, results, request)
    for result in results:
        show = messages.error if result.error else messages.success
        show(request, describe_result(channel, result))


# --- The list --------------------------------------------------------------------------------------------------------


class KindFilter(FieldFilter):
    title = _("type")
    parameter_name = "kind"
    field = "kind"
    options = dict(Kind.choices)


class ActiveFilter(ChoiceFilter):
    title = _("enabled")
    parameter_name = "active"
    options = {"yes": _("enabled"), "no": _("disabled")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(is_active=value == "yes")


def describe_disabling(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> Confirmation:
    count, left = queryset.count(), NotificationChannel.objects.filter(is_active=True).exclude(pk__in=queryset).count()
    stops = ngettext(
        "%(count)d channel stops sending. Its messages wait until you enable it again.",
        "%(count)d channels stop sending. Their messages wait until you enable them again.",
        count,
    )
    remain = ngettext("%(count)d other channel stays enabled.", "%(count)d other channels stay enabled.", left)
    if not left:
        remain = gettext("No other channel is enabled: no one gets alerts.")
    title = ngettext("Disable channel", "Disable channels", count)
    return Confirmation(title, _("Disable"), [stops % {"count": count}, remain % {"count": left}])


@admin.register(NotificationChannel)
class NotificationChannelAdmin(ChannelTools):
    menu_order = 2
    form = ChannelForm
    audit_name = "channel"
    purpose = _("Destinations of notifications: e-mail, Telegram, webhooks and Apprise. Add a channel to get alerts.")
    change_form_template = "portal/channel.html"
    ordering = ("name",)
    sortable_by = ("name", "kind", "min_severity")
    list_display = (
        "name",
        "kind",
        "state",
        "min_severity",
        moment_column("state_last_success_at", _("last success"), empty=_("never")),
        "waiting",
        "error",
    )
    list_filter = (KindFilter, ActiveFilter)
    search_fields = ("name__fragment",)
    search_help_text = search_by(_("name"))
    add_label = _("Add a channel")
    actions = ("send_test", "enable_again", "activate", "deactivate", "export_chosen", "export_chosen_xlsx")
    object_actions = ("send_test", "enable_again", "activate", "deactivate")
    state_fields = (
        "state",
        moment_column("state_last_success_at", _("last success"), show=exact_moment, empty=_("never")),
        "waiting",
        "error",
    )

    class Media:
        js = ("portal/js/channel.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[NotificationChannel]:
        return NotificationChannel.objects.with_states(ChannelState.objects.all(), OutboxMessage.objects.all())

    @admin.display(description=_("status"))
    def state(self, channel: Any) -> SafeString:
        facts = (channel.state_disabled_at, channel.state_failures, channel.state_last_success_at)
        return state_badge(channel.is_active, *facts)

    @admin.display(description=_("pending"))
    def waiting(self, channel: Any) -> int:
        return int(channel.waiting)

    @admin.display(description=_("last error"))
    def error(self, channel: Any) -> str:
        return channel.state_disabled_reason or channel.state_last_error or EMPTY_VALUE

    # --- The form ----------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields of the channel's kind; for a new channel those of all kinds, shown by kind."""
        advanced = ("min_severity", "is_active")
        if obj is None:
            own = tuple(name for names in ChannelForm.FIELDS.values() for name in names)
            folded = {"fields": advanced, "classes": ("collapse",)}
            return [(None, {"fields": ("name", "kind", *own)}), (_("Advanced"), folded)]
        is_form = self.has_change_permission(request, obj)
        own = ChannelForm.FIELDS[obj.kind] if is_form else ("addresses",)
        configuration: dict[str, Any] = {"fields": ("name", "kind", *own, *advanced)}
        if obj.environment_key:
            text = ENVIRONMENT_CHANNELS[obj.environment_key].description
            configuration = {"fields": ("name", "kind", "configured_recipients"), "description": text}
        return [(None, configuration), (_("Status"), {"fields": self.state_fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("kind", "configured_recipients", *self.state_fields)

    @admin.display(description=_("recipients"))
    def configured_recipients(self, channel: NotificationChannel) -> str:
        return ", ".join(recipients_of(channel))

    def has_change_permission(self, request: HttpRequest, obj: NotificationChannel | None = None) -> bool:
        return not (obj and obj.environment_key) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: NotificationChannel | None = None) -> bool:
        return not (obj and obj.environment_key) and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: NotificationChannel, form: Any, change: bool) -> None:
        """Save, and enable a changed channel again: its waiting messages are sent at once."""
        if change:
            obj.save(update_fields=form.changed_columns)
        else:
            obj.save()
        synchronise_states([obj])
        if form.has_changed():
            enable_channels([obj.key], request)

    def delete_model(self, request: HttpRequest, obj: NotificationChannel) -> None:
        self.delete_queryset(request, NotificationChannel.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[NotificationChannel]) -> None:
        """Give up the messages that wait for the deleted channels, with that reason."""
        keys = [channel.key for channel in queryset]
        with transaction.atomic():
            waiting = OutboxMessage.objects.filter(channel__in=keys)
            waiting.finish("given_up", timezone.now(), gettext("Channel deleted."))
            ChannelState.objects.filter(channel__in=keys).delete()
            NotificationChannel.objects.filter(pk__in=[channel.pk for channel in queryset]).delete()

    def subject_of(self, obj: Any) -> str:
        return audit_subject(obj.key)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        query = {"channel": obj.pk} if obj else {}
        context |= {
            "has_form": obj is None or self.has_change_permission(request, obj),
            "test_url": reverse("admin:portal_notificationchannel_test", query=query),
            "chats_url": reverse("admin:portal_notificationchannel_chats", query=query),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, obj: NotificationChannel) -> list[Section]:
        return [history_section(audit_subject(obj.key))]

    # --- Actions -----------------------------------------------------------------------------------------------------

    def can_act(self, obj: Any, action: str) -> bool:
        possible: dict[str, bool] = {
            # The other channels have a form, which tests with its values.
            "send_test": obj.environment_key is not None,
            "enable_again": obj.is_active and (obj.state_disabled_at is not None or bool(obj.state_failures)),
            "activate": not (obj.is_active or obj.environment_key),
            "deactivate": obj.is_active and not obj.environment_key,
        }
        return possible.get(action, True)

    @admin.action(description=_("Send a test"), permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: NotificationChannelQuerySet) -> None:
        request.needs_no_event = True  # type: ignore[attr-defined]
        most = min(MAX_TESTED_AT_ONCE, calls_left(request))
        if not most:
            self.message_user(request, TOO_MANY, messages.ERROR)
            return
        channels = list(queryset[: most + 1])
        if len(channels) > most:
            text = ngettext(
                "Only the first channel was tested.", "Only the first %(count)d channels were tested.", most
            )
            self.message_user(request, text % {"count": most}, messages.WARNING)
        for channel in channels[:most]:
            # Once the transaction is committed, so that no row is locked during network I/O.
            transaction.on_commit(partial(send_test_and_report, channel, request))

    @admin.action(description=_("Re-enable"), permissions=["change"])
    def enable_again(self, request: HttpRequest, queryset: NotificationChannelQuerySet) -> None:
        count = enable_channels((channel.key for channel in queryset), request)
        text = ngettext("%(count)d channel re-enabled.", "%(count)d channels re-enabled.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Enable"), permissions=["change"])
    def activate(self, request: HttpRequest, queryset: NotificationChannelQuerySet) -> None:
        self.set_active(request, queryset, True)

    @confirm_first(describe_disabling)
    @admin.action(description=_("Disable…"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: NotificationChannelQuerySet) -> None:
        self.set_active(request, queryset, False)

    deactivate.dangerous = True  # type: ignore[attr-defined]

    def set_active(self, request: HttpRequest, queryset: NotificationChannelQuerySet, is_active: bool) -> None:
        """Switch channels on or off. Their waiting messages stay for when they are on again."""
        count = 0
        for channel in queryset.filter(is_active=not is_active, environment_key=None):
            if NotificationChannel.objects.filter(pk=channel.pk, is_active=not is_active).update(is_active=is_active):
                what = "activated" if is_active else "deactivated"
                audit.record_event(
                    f"channel.{what}", audit_subject(channel.key), request=request, after={"name": channel.name}
                )
                count += 1
        on = ngettext("%(count)d channel enabled.", "%(count)d channels enabled.", count)
        off = ngettext("%(count)d channel disabled.", "%(count)d channels disabled.", count)
        self.message_user(request, (on if is_active else off) % {"count": count}, messages.SUCCESS)
