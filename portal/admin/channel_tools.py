"""Calls that the form of a channel makes before it is saved: a test message, and the chats of a Telegram bot.

Both answer the page's script with JSON, and store nothing but their event in the audit log.
"""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import path
from django.utils.translation import gettext as _

from portal import audit
from portal.admin.base import SettingsAdmin
from portal.base.encryption import Unreadable
from portal.desk.call_limits import TOO_MANY, count_calls_left
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError
from portal.notifications.channels.telegram import find_chats
from portal.notifications.configuration import secret_of
from portal.notifications.forms import ChannelForm
from portal.notifications.selftest import SelfTestResult, try_settings
from portal.notifications.states import audit_subject

TESTED, CHATS_LISTED = "channel.tested", "channel.chats_listed"


def describe_result(channel: NotificationChannel, result: SelfTestResult) -> str:
    where = result.recipient or channel.name or channel.get_kind_display()
    if result.error:
        return _("Test to %(where)s failed: %(error)s") % {"where": where, "error": result.error}
    return _("Test sent to %(where)s.") % {"where": where}


def record_test(channel: NotificationChannel, results: list[SelfTestResult], request: HttpRequest) -> None:
    failed = [result for result in results if result.error]
    counts = {"sent": len(results) - len(failed), "failed": len(failed), "error": failed[0].error if failed else ""}
    subject = audit_subject(channel.key) if channel.pk else "channel:new"
    audit.record_event(TESTED, subject, request=request, after=counts)


def calls_left(request: HttpRequest) -> int:
    """Return how many calls the user may make now; tests of saved channels count too."""
    return count_calls_left(request, TESTED, CHATS_LISTED)


def test_form(form: ChannelForm, request: HttpRequest) -> dict[str, Any]:
    """Send a test by the form's settings, unless one of the fields that the channel needs has an error."""
    problems = form.problems_of(*{"kind"} & form.fields.keys(), *form.FIELDS.get(form.kind, ()))
    if problems:
        return {"errors": problems}
    channel: NotificationChannel = form.instance
    form.configure(channel)
    results = try_settings(channel)
    record_test(channel, results, request)
    return {"results": [{"ok": not result.error, "text": describe_result(channel, result)} for result in results]}


def list_chats(form: ChannelForm, request: HttpRequest) -> dict[str, Any]:
    """Return the chats of the form's bot, or of the stored one if the field is empty."""
    problems = form.problems_of("bot_token") if form.cleaned_data.get("bot_token") or not form.instance.secret else []
    if problems:
        return {"errors": problems}
    audit.record_event(
        CHATS_LISTED, audit_subject(form.instance.key) if form.instance.pk else "channel:new", request=request
    )
    try:
        chats = find_chats(form.cleaned_data.get("bot_token") or secret_of(form.instance))
    except (DeliveryError, Unreadable) as error:
        return {"errors": [str(error)]}
    if not chats:
        text = _("No chats found. Add the bot to the chat, send a message there, then try again.")
        return {"errors": [text]}
    return {"chats": [{"id": chat.id, "name": chat.name} for chat in chats]}


class ChannelTools(SettingsAdmin):
    """Base of the channels' admin with the two calls. `?channel=` names the channel that is being edited."""

    def get_urls(self) -> list[Any]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path("test/", wrap(self.call_view), {"tool": test_form}, name=f"{name}_test"),
            path("chats/", wrap(self.call_view), {"tool": list_chats}, name=f"{name}_chats"),
        ]
        return own + super().get_urls()

    def call_view(self, request: HttpRequest, tool: Any) -> HttpResponse:
        channel = self.edited_channel(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not calls_left(request):
            answer = {"code": "throttled", "errors": [str(TOO_MANY)]}
            return JsonResponse(answer, status=429, headers={"Retry-After": "60"})
        form = ChannelForm(request.POST, instance=channel)
        if channel:
            del form.fields["kind"]  # as on its page, where the type is fixed
        form.is_valid()
        return JsonResponse(tool(form, request))

    def edited_channel(self, request: HttpRequest) -> NotificationChannel | None:
        """Return the channel whose form calls, None for a new one. Raises PermissionDenied or Http404."""
        key = request.GET.get("channel", "")
        if not key:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return None
        channel = self.get_object(request, key)
        if channel is None:
            raise Http404
        if not self.has_change_permission(request, channel):
            raise PermissionDenied
        return channel  # type: ignore[no-any-return]
