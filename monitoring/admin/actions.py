"""Actions on targets: check now, silence, pause, resume, publish a badge."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from monitoring import controls
from monitoring.admin.base import AskingAdmin
from monitoring.admin.form import SilenceForm
from monitoring.figures import badge
from monitoring.models import Target
from monitoring.querysets import TargetQuerySet
from portal import audit
from portal.base.words import format_moment

Act = Callable[[TargetQuerySet], int]


class TargetActions(AskingAdmin):
    too_many = _("Choose at most %(count)d targets at once. Nothing was done.")
    actions = (
        "check_now", "silence", "end_silence", "pause", "resume", "publish_badge", "revoke_badge", "export_chosen",
        "export_chosen_xlsx",
    )  # fmt: skip
    object_actions = ("check_now", "silence", "end_silence", "pause", "resume", "publish_badge", "revoke_badge")

    def can_act(self, obj: Target, action: str) -> bool:
        now = timezone.now()
        return {
            "check_now": obj.is_active,
            "silence": obj.is_active and not obj.is_silenced(now),
            "end_silence": obj.is_silenced(now),
            "pause": obj.is_active,
            "resume": not obj.is_active,
            "publish_badge": obj.badge_key is None,
            "revoke_badge": obj.badge_key is not None,
        }[action]

    def carry_out(self, request: HttpRequest, targets: list[Target], name: str, act: Act, after: Any = None) -> int:
        """Do it to these targets with an audit event for each. Return the number of targets changed."""
        if not targets:
            return 0
        for target in targets:
            audit.record_event(f"monitoring.{name}", target.subject, request=request, after=after)
        return act(Target.objects.filter(pk__in=[target.pk for target in targets]))

    def tell(self, request: HttpRequest, text: str, count: int) -> None:
        if count:
            self.message_user(request, text % {"count": count}, messages.SUCCESS)

    # --- Checks ------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Check now"), permissions=["change"])
    def check_now(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        now = timezone.now()
        targets = self.lock_selection(request, queryset, Q(is_active=True))
        count = self.carry_out(request, targets, "check_asked", lambda rows: controls.request_checks(rows, now))
        text = ngettext(
            "%(count)d target is being checked: its page will tell the result.",
            "%(count)d targets are being checked: their pages will tell the result.",
            count,
        )
        self.tell(request, text, count)

    # --- Silence -----------------------------------------------------------------------------------------------------

    @admin.action(description=_("Silence…"), permissions=["change"])
    def silence(self, request: HttpRequest, queryset: TargetQuerySet) -> HttpResponse | None:
        targets = self.lock_selection(request, queryset, Q())
        if not targets:
            return None
        form = SilenceForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self.ask_for_how_long(request, targets, form)
        until: datetime = form.cleaned_data["until"]
        after = {"until": format_moment(until)}
        count = self.carry_out(request, targets, "silenced", lambda rows: controls.silence_targets(rows, until), after)
        text = ngettext(
            "%(count)d target is silenced until %(until)s: it is checked, and nobody is told.",
            "%(count)d targets are silenced until %(until)s: they are checked, and nobody is told.",
            count,
        )
        self.message_user(request, text % {"count": count, "until": format_moment(until)}, messages.SUCCESS)
        return None

    def ask_for_how_long(self, request: HttpRequest, targets: list[Target], form: SilenceForm) -> HttpResponse:
        lead = ngettext(
            "This target is checked as before. Its incidents are written down, but nobody is told until then.",
            "These targets are checked as before. Their incidents are written down, but nobody is told until then.",
            len(targets),
        )
        chosen = [(target.pk, target.name, target.url) for target in targets]
        return self.ask(request, "silence", form, chosen, title=_("Silence"), lead=lead, submit=_("Silence"))

    @admin.action(description=_("End the silence"), permissions=["change"])
    def end_silence(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, Q(silenced_until__gt=timezone.now()))
        count = self.carry_out(request, targets, "silence_ended", lambda rows: controls.silence_targets(rows, None))
        text = ngettext("%(count)d target is heard again.", "%(count)d targets are heard again.", count)
        self.tell(request, text, count)

    # --- Pause -------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Pause"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        actor = request.user.get_username()
        targets = self.lock_selection(request, queryset, Q(is_active=True))
        count = self.carry_out(request, targets, "paused", lambda rows: controls.pause_targets(rows, actor))
        text = ngettext(
            "%(count)d target is paused: nobody looks at it until it is resumed.",
            "%(count)d targets are paused: nobody looks at them until they are resumed.",
            count,
        )
        self.tell(request, text, count)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        now = timezone.now()
        targets = self.lock_selection(request, queryset, Q(is_active=False))
        count = self.carry_out(request, targets, "resumed", lambda rows: controls.resume_targets(rows, now))
        text = ngettext("%(count)d target is watched again.", "%(count)d targets are watched again.", count)
        self.tell(request, text, count)

    # --- Badges ------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Publish a badge"), permissions=["change"])
    def publish_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, Q(badge_key=None))
        count = self.carry_out(request, targets, "badge_published", badge.publish_badges)
        text = ngettext(
            "%(count)d badge is published: its address stands on the page of its target.",
            "%(count)d badges are published: their addresses stand on the pages of their targets.",
            count,
        )
        self.tell(request, text, count)

    @admin.action(description=_("Revoke the badge"), permissions=["change"])
    def revoke_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, ~Q(badge_key=None))
        count = self.carry_out(request, targets, "badge_revoked", badge.revoke_badges)
        text = ngettext(
            "%(count)d badge is revoked: its address answers no more.",
            "%(count)d badges are revoked: their addresses answer no more.",
            count,
        )
        self.tell(request, text, count)

    revoke_badge.dangerous = True  # type: ignore[attr-defined]
