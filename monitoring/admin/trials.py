"""Checks that a user waits for: *Test* on the form of a target, the first check of a saved one, and *Check now*."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring import controls
from monitoring.admin.base import MonitoringAdmin
from monitoring.admin.form import TRIAL
from monitoring.checks import trial
from monitoring.error_texts import describe_error
from monitoring.models import Target
from monitoring.panels import format_milliseconds
from monitoring.probe.http import ProbeOutcome


class TargetTrials(MonitoringAdmin):
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Test a form before the view begins its transaction: SQLite has one writer, which must not wait for a probe.

        The view then shows the form again, since a trial is never valid.
        """
        if request.method == "POST" and TRIAL in request.POST:
            self.try_form(request, object_id)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def try_form(self, request: HttpRequest, object_id: str | None) -> None:
        """Probe what the form describes and show the result. Only the name may be missing."""
        target = self.get_object(request, unquote(object_id)) if object_id else None
        is_allowed = self.has_change_permission(request, target) if target else self.has_add_permission(request)
        if not is_allowed:
            raise PermissionDenied
        form = self.get_form(request, target, change=target is not None)(request.POST, instance=target)
        if set(form.errors) - {"name"}:
            return
        outcome = trial.admit_trial(request.user, lambda: trial.try_target(form.instance))
        if outcome is None:
            self.message_user(request, _("Too many tests. Try again in a minute."), messages.ERROR)
        else:
            self.show_outcome(request, outcome)

    def check_after_commit(self, request: HttpRequest, key: int) -> None:
        """Check the target and show the result once the transaction has been committed.

        A check beyond the limits is left to the workers.
        """

        def check() -> None:
            target = Target.objects.active().filter(pk=key).first()
            if target is None:
                return
            outcome = trial.admit_trial(request.user, lambda: trial.check_at_once(target))
            if outcome is None:
                controls.request_checks(Target.objects.filter(pk=key), timezone.now())
                self.message_user(request, _("Too many checks at once. This one is made in the background."))
            else:
                self.show_outcome(request, outcome)

        transaction.on_commit(check, robust=True)

    def show_outcome(self, request: HttpRequest, outcome: ProbeOutcome) -> None:
        if outcome.is_ok:
            words = {"status": outcome.status, "time": format_milliseconds(outcome.latency_ms)}
            text, level = _("Check OK: status %(status)s in %(time)s.") % words, messages.SUCCESS
        else:
            reason = describe_error(outcome.error_kind, outcome.detail)
            text, level = _("Check failed: %(reason)s") % {"reason": reason}, messages.WARNING
        self.message_user(request, text, level)
