"""What people are told of a programme: that its verdict is another one, and why."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext as _

from beta.models import BetaSnapshot
from beta.report import wording
from beta.report.verdict import GO, INSUFFICIENT_DATA, NO_GO
from portal.notifications import Notice, Severity

BEST_FIRST = (GO, INSUFFICIENT_DATA, NO_GO)


def changed(snapshot: BetaSnapshot, before: str) -> Notice:
    """`before` is the code of the verdict that it was."""
    programme, after = snapshot.programme, snapshot.verdict
    is_worse = BEST_FIRST.index(after) > BEST_FIRST.index(before)
    verdicts = {"before": wording.verdict_of(before), "after": wording.verdict_of(after)}
    return Notice(
        subject=programme.subject,
        severity=Severity.WARNING if is_worse else Severity.INFO,
        title=_("%(programme)s: %(before)s → %(after)s") % {"programme": programme.name, **verdicts},
        text=wording.reason(snapshot.data),
        dedupe_key=f"{programme.subject}:{snapshot.pk}",
        path=reverse("admin:beta_betaprogramme_change", args=[programme.pk]),
    )
