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
    too_many = _("Select at most %(count)d targets. Nothing was changed.")
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
            "Check started.",
            "Checks of %(count)d targets started.",
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
            "Target silenced until %(until)s.",
            "%(count)d targets silenced until %(until)s.",
            count,
        )
        self.message_user(request, text % {"count": count, "until": format_moment(until)}, messages.SUCCESS)
        return None

    def ask_for_how_long(self, request: HttpRequest, targets: list[Target], form: SilenceForm) -> HttpResponse:
        lead = ngettext(
            "Checks continue and incidents are recorded, but no alerts are sent for this target.",
            "Checks continue and incidents are recorded, but no alerts are sent for these targets.",
            len(targets),
        )
        chosen = [(target.pk, target.name, target.url) for target in targets]
        return self.ask(request, "silence", form, chosen, title=_("Silence"), lead=lead, submit=_("Silence"))

    @admin.action(description=_("Unsilence"), permissions=["change"])
    def end_silence(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, Q(silenced_until__gt=timezone.now()))
        count = self.carry_out(request, targets, "silence_ended", lambda rows: controls.silence_targets(rows, None))
        text = ngettext("Target unsilenced.", "%(count)d targets unsilenced.", count)
        self.tell(request, text, count)

    # --- Pause -------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Pause"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        actor = request.user.get_username()
        targets = self.lock_selection(request, queryset, Q(is_active=True))
        count = self.carry_out(request, targets, "paused", lambda rows: controls.pause_targets(rows, actor))
        text = ngettext(
            "Target paused.",
            "%(count)d targets paused.",
            count,
        )
        self.tell(request, text, count)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        now = timezone.now()
        targets = self.lock_selection(request, queryset, Q(is_active=False))
        count = self.carry_out(request, targets, "resumed", lambda rows: controls.resume_targets(rows, now))
        text = ngettext("Target resumed.", "%(count)d targets resumed.", count)
        self.tell(request, text, count)

    # --- Badges ------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Publish badge"), permissions=["change"])
    def publish_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, Q(badge_key=None))
        count = self.carry_out(request, targets, "badge_published", badge.publish_badges)
        text = ngettext(
            "Badge published. Its address is on the target’s page.",
            "%(count)d badges published. Their addresses are on the targets’ pages.",
            count,
        )
        self.tell(request, text, count)

    @admin.action(description=_("Unpublish badge…"), permissions=["change"])
    def revoke_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_selection(request, queryset, ~Q(badge_key=None))
        count = self.carry_out(request, targets, "badge_revoked", badge.revoke_badges)
        text = ngettext(
            "Badge unpublished.",
            "%(count)d badges unpublished.",
            count,
        )
        self.tell(request, text, count)

    revoke_badge.dangerous = True  # type: ignore[attr-defined]
