"""Findings about sign-ins: who is being guessed at, and from where."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Case, IntegerField, Value, When
from django.utils.translation import gettext as _

from portal.access.signin.guessing import LIMITS, Kind, keyed_hash
from portal.base.findings import Finding, Severity, admin_url, finding_sources, split_shown
from portal.models import GuessWindow

SHOWN = timedelta(hours=1)  # after the last attempt was possible


@finding_sources.register
def guessed_accounts(now: datetime) -> Iterator[Finding]:
    """Accounts and addresses that have reached a limit of failed sign-ins."""
    limit = Case(*[When(kind=kind, then=Value(most)) for kind, most in LIMITS.items()], output_field=IntegerField())
    reached = GuessWindow.objects.exclude(kind=Kind.RESET).filter(window_ends_at__gt=now - SHOWN, total__gte=limit)
    worst, has_others = split_shown(reached.order_by("-total"))
    names = user_names() if any(row.account for row in worst) else {}
    url = admin_url("portal_auditevent_changelist", {"family": "refused."})
    for row in worst:
        severity = Severity.CRITICAL if row.kind == Kind.CODE else Severity.WARNING
        yield Finding(severity, describe_guessing(row, names), row.window_started_at, url, _("View refusals"))
    if has_others:
        text = _("Many failed sign-ins at more accounts, or from more addresses. A firewall can block the senders.")
        yield Finding(Severity.WARNING, text, url=url, action=_("View refusals"))


def user_names() -> dict[str, str]:
    """User names by the keyed hash under which their failures are counted."""
    return {keyed_hash(f"user:{pk}"): name for pk, name in User.objects.values_list("pk", "username").iterator()}


def describe_guessing(row: GuessWindow, names: dict[str, str]) -> str:
    if not row.account:
        text = _("Many failed sign-ins from %(address)s. If you do not know the address, block it in your firewall.")
        return text % {"address": row.source}
    user = names.get(row.account)
    if user is None:
        return _("Many failed sign-ins as a user who does not exist.")
    if row.kind == Kind.CODE:
        text = _("Many wrong second factors for %(user)s: someone may know the password. Change it.")
    else:
        text = _(
            "Many failed sign-ins as %(user)s. Ask them whether it was them; a second factor protects the account."
        )
    return text % {"user": user}
