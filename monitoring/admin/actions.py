"""Actions on targets: check, silence, pause, publish a badge. Each leaves an audit event for each target."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from monitoring import controls
from monitoring.admin.base import LockingAdmin
from monitoring.admin.confirmations import describe_pause, describe_silence, describe_unpublishing
from monitoring.admin.trials import TargetTrials
from monitoring.figures import badge
from monitoring.models import Target
from monitoring.querysets import TargetQuerySet
from portal import audit
from portal.admin.confirm import confirm_first
from portal.base.words import format_moment

Act = Callable[[TargetQuerySet], int]


class TargetActions(TargetTrials, LockingAdmin):
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

    def record_events(self, request: HttpRequest, targets: list[Target], name: str, after: Any = None) -> None:
        for target in targets:
            audit.record_event(f"monitoring.{name}", target.subject, request=request, after=after)

    def carry_out(self, request: HttpRequest, targets: list[Target], name: str, act: Act, after: Any = None) -> int:
        """Do it to these targets with an audit event for each. Return the number of targets changed."""
        if not targets:
            return 0
        self.record_events(request, targets, name, after)
        return act(Target.objects.filter(pk__in=[target.pk for target in targets]))

    def show_count(self, request: HttpRequest, text: str, count: int, **words: str) -> None:
        if count:
            self.message_user(request, text % {"count": count, **words}, messages.SUCCESS)

    # --- Checks ------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Check now"), permissions=["change"])
    def check_now(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        """Check one target while the user waits; of several, ask the workers."""
        now, targets = timezone.now(), self.lock_rows(request, queryset, "check_now")
        if len(targets) == 1:
            self.record_events(request, targets, "check_asked")
            self.check_after_commit(request, targets[0].pk)
            return
        count = self.carry_out(request, targets, "check_asked", lambda rows: controls.request_checks(rows, now))
        self.show_count(request, _now("Checks of %(count)d targets started."), count)

    # --- Silence -----------------------------------------------------------------------------------------------------

    @confirm_first(describe_silence)
    @admin.action(description=_("Silence…"), permissions=["change"])
    def silence(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        until: datetime = request.confirmed_form.cleaned_data["until"]  # type: ignore[attr-defined]
        targets = self.lock_rows(request, queryset, "silence")
        after = {"until": format_moment(until)}
        count = self.carry_out(request, targets, "silenced", lambda rows: controls.silence_targets(rows, until), after)
        text = ngettext("Target silenced until %(until)s.", "%(count)d targets silenced until %(until)s.", count)
        self.show_count(request, text, count, until=format_moment(until))

    @admin.action(description=_("Unsilence"), permissions=["change"])
    def end_silence(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_rows(request, queryset, "end_silence")
        count = self.carry_out(request, targets, "silence_ended", lambda rows: controls.silence_targets(rows, None))
        self.show_count(request, ngettext("Target unsilenced.", "%(count)d targets unsilenced.", count), count)

    # --- Pause -------------------------------------------------------------------------------------------------------

    @confirm_first(describe_pause)
    @admin.action(description=_("Pause…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        actor, targets = request.user.get_username(), self.lock_rows(request, queryset, "pause")
        count = self.carry_out(request, targets, "paused", lambda rows: controls.pause_targets(rows, actor))
        self.show_count(request, ngettext("Target paused.", "%(count)d targets paused.", count), count)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        now, targets = timezone.now(), self.lock_rows(request, queryset, "resume")
        count = self.carry_out(request, targets, "resumed", lambda rows: controls.resume_targets(rows, now))
        self.show_count(request, ngettext("Target resumed.", "%(count)d targets resumed.", count), count)

    # --- Badges ------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Publish badge"), permissions=["change"])
    def publish_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_rows(request, queryset, "publish_badge")
        count = self.carry_out(request, targets, "badge_published", badge.publish_badges)
        text = ngettext(
            "Badge published. Its address is on the target’s page.",
            "%(count)d badges published. Their addresses are on the targets’ pages.",
            count,
        )
        self.show_count(request, text, count)

    @confirm_first(describe_unpublishing)
    @admin.action(description=_("Unpublish badge…"), permissions=["change"])
    def revoke_badge(self, request: HttpRequest, queryset: TargetQuerySet) -> None:
        targets = self.lock_rows(request, queryset, "revoke_badge")
        count = self.carry_out(request, targets, "badge_revoked", badge.revoke_badges)
        self.show_count(request, ngettext("Badge unpublished.", "%(count)d badges unpublished.", count), count)

    revoke_badge.dangerous = True  # type: ignore[attr-defined]
