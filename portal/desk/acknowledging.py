"""Acknowledging, assigning and un-acknowledging findings on the landing page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal import audit
from portal.audit import EVENT_TEXTS
from portal.base.findings import Finding
from portal.desk.assigning import assignable_users
from portal.desk.models import VALID_FOR, FindingAcknowledgement
from portal.work.retention import Retention, retentions

# Of a finding's text, so much is recorded.
LONGEST = 300
PERMISSION = "portal.acknowledge_finding"
EVENT_TEXTS["finding.acknowledged"] = gettext_lazy("Acknowledged")
EVENT_TEXTS["finding.unacknowledged"] = gettext_lazy("Acknowledgement withdrawn")


def add_acknowledgements(findings: Iterable[Finding], now: datetime) -> list[Finding]:
    """Return the findings, those that are acknowledged with their acknowledgement. One query."""
    found = list(findings)
    rows = FindingAcknowledgement.objects.filter(key__in=[finding.key for finding in found if finding.key])
    by_key = {row.key: row for row in rows.select_related("assignee")}
    return [
        replace(finding, acknowledgement=row) if row is not None and row.covers(finding, now) else finding
        for finding in found
        for row in [by_key.get(finding.key)]
    ]


def lapsed_acknowledgements(now: datetime) -> QuerySet[FindingAcknowledgement]:
    return FindingAcknowledgement.objects.filter(acknowledged_at__lt=now - VALID_FOR)


retentions.register(Retention("finding_acknowledgements", lapsed_acknowledgements))


class AcknowledgementForm(forms.Form):
    comment = forms.CharField(
        label=gettext_lazy("Comment"),
        max_length=FindingAcknowledgement._meta.get_field("comment").max_length,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("Action under way, for others who see it (optional)."),
    )
    assignee = forms.ModelChoiceField(
        User.objects.none(),
        label=gettext_lazy("Assigned to"),
        required=False,
        help_text=gettext_lazy("Leave empty to assign it to no one."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["assignee"].queryset = assignable_users(self.initial.get("assignee"))  # type: ignore[attr-defined]


def acknowledge_view(request: HttpRequest, findings: Iterable[Finding]) -> HttpResponse:
    """Ask for comment and assignee of the finding with this key and save them, or withdraw the acknowledgement.

    `findings` are those that the user may see: nobody can acknowledge another one.
    """
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    key = request.POST.get("key") or request.GET.get("key", "")
    finding = next((each for each in findings if each.key and each.key == key), None)
    if finding is None:
        messages.warning(request, _("This issue no longer exists."))
        return redirect("admin:index")
    if "withdraw" in request.POST:
        withdraw_acknowledgement(finding, request)
        return redirect("admin:index")
    form = AcknowledgementForm(
        request.POST if request.method == "POST" else None, initial=initial_values(finding, request)
    )
    if form.is_valid():
        save_acknowledgement(finding, form.cleaned_data, request)
        messages.success(request, _("Issue acknowledged."))
        return redirect("admin:index")
    context = {
        **admin.site.each_context(request),
        "title": _("Acknowledge"),
        "finding": finding,
        "form": form,
        "days": VALID_FOR.days,
    }
    return TemplateResponse(request, "portal/acknowledge.html", context)


def initial_values(finding: Finding, request: HttpRequest) -> dict[str, Any]:
    known = finding.acknowledgement
    if known is None:
        return {"assignee": request.user.pk}
    return {"comment": known.comment, "assignee": known.assignee_id}


def save_acknowledgement(finding: Finding, values: dict[str, Any], request: HttpRequest) -> None:
    actor, now = request.user.get_username(), timezone.now()
    row = {"severity": finding.severity, "acknowledged_at": now, "acknowledged_by": actor, **values}
    with transaction.atomic():
        known = FindingAcknowledgement.objects.select_for_update().filter(key=finding.key).first()
        is_changed = known is not None and known.covers(finding, now)
        before = recordable(known.comment, known.assignee) if known and is_changed else None
        FindingAcknowledgement.objects.update_or_create(key=finding.key, defaults=row)
        after = {"finding": finding.text[:LONGEST], **recordable(values["comment"], values["assignee"])}
        audit.record_event("finding.acknowledged", subject_of(finding), request=request, before=before, after=after)


def withdraw_acknowledgement(finding: Finding, request: HttpRequest) -> None:
    with transaction.atomic():
        if FindingAcknowledgement.objects.filter(key=finding.key).delete()[0]:
            after = {"finding": finding.text[:LONGEST]}
            audit.record_event("finding.unacknowledged", subject_of(finding), request=request, after=after)
            messages.success(request, _("Acknowledgement withdrawn."))


def subject_of(finding: Finding) -> str:
    return f"finding:{finding.key}"


def recordable(comment: str, assignee: Any) -> dict[str, str]:
    return {"comment": comment, "assignee": assignee.get_username() if assignee else ""}
