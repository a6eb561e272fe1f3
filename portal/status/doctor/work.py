"""Checks of background work: clusters, pulse, queue and notification channels."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_q.models import OrmQ

from portal.base.encryption import Unreadable
from portal.base.words import format_span
from portal.models import ApiToken, ChannelState
from portal.notifications.configuration import active_channels, secret_of
from portal.status.doctor.configuration import is_ungenerated
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, failure, passed, warning
from portal.status.health import heartbeat_checks

# How long a task may wait for each cluster before it is a warning and a failure. Long tasks may keep all slow workers.
PATIENCE = {
    "quick": (timedelta(minutes=2), timedelta(minutes=10)),
    "slow": (timedelta(hours=2), timedelta(hours=6)),
}


@doctor_check("workers", Group.WORK, needs=Needs.TABLES)
def check_components() -> Iterator[CheckResult]:
    """Check the clusters and the pulse, each under its name."""
    now = timezone.now()
    for name, check in heartbeat_checks(now).items():
        if check.word == "ok":
            yield passed(_("Running"), name)
            continue
        text = _("Has never run.")
        if check.since:
            text = _("Not running: last sign of life %(time)s ago.") % {"time": format_span(now - check.since)}
        hint = _("Start “manage.py up” or its service, and look for errors in its log.")
        yield failure(text, hint, name)


@doctor_check("queue", Group.WORK, needs=Needs.TABLES)
def measure_queue() -> Iterator[CheckResult]:
    now = timezone.now()
    rows = OrmQ.objects.filter(lock__lte=now).values("key").annotate(count=Count("pk"), since=Min("lock"))
    found = [(row["key"], row["count"], now - row["since"]) for row in rows.order_by() if row["key"] in PATIENCE]
    late = [row for row in found if row[2] > PATIENCE[row[0]][0]]
    for cluster, count, age in late[:1]:
        words = {"count": count, "cluster": cluster, "time": format_span(age)}
        text = ngettext(
            "%(count)d task waits for the cluster “%(cluster)s”, since %(time)s.",
            "%(count)d tasks wait for the cluster “%(cluster)s”, the first since %(time)s.",
            count,
        )
        hint = _("Check that the cluster runs, and raise QUICK_WORKERS or SLOW_WORKERS if it is always busy.")
        yield (failure if age > PATIENCE[cluster][1] else warning)(text % words, hint)
    if not late:
        count = sum(row[1] for row in found)
        yield passed(ngettext("%(count)d task waits", "%(count)d tasks wait", count) % {"count": count})


@doctor_check("channels", Group.WORK, needs=Needs.TABLES)
def check_channels() -> Iterator[CheckResult]:
    """Check that active channels are enabled, and their secrets readable with the present ENCRYPTION_KEY."""
    channels = list(active_channels())
    disabled = ChannelState.objects.exclude(disabled_at=None).values_list("channel", flat=True)
    by_key = {channel.key: channel for channel in channels}
    if stopped := [by_key[key].name for key in disabled if key in by_key]:
        text = _("Channel “%(name)s” is disabled after a failure: its messages wait.") % {"name": stopped[0]}
        yield failure(text, _("Fix its settings, and enable it on its page."))
        return
    for channel in channels:
        try:
            secret_of(channel)
        except Unreadable:
            text = _("The secret of channel “%(name)s” was encrypted under another ENCRYPTION_KEY.")
            hint = _("Add the former key to ENCRYPTION_KEY after a comma, or enter the channel’s secret again.")
            yield failure(text % {"name": channel.name}, hint)
            return
    text = ngettext("%(count)d active channel", "%(count)d active channels", len(channels))
    yield passed(text % {"count": len(channels)} if channels else _("None: no one gets alerts."))


@doctor_check("tokens", Group.WORK, needs=Needs.TABLES)
def check_token_peppers() -> Iterator[CheckResult]:
    """Look for tokens that were hashed under a version of the pepper that is no longer set."""
    if is_ungenerated("TOKEN_PEPPER"):
        return
    usable = ApiToken.objects.usable(timezone.now()).order_by()
    lost = usable.exclude(pepper_version__in=list(settings.TOKEN_PEPPERS)).count()
    if lost:
        text = ngettext(
            "%(count)d active token is refused: its version of TOKEN_PEPPER is not set.",
            "%(count)d active tokens are refused: their version of TOKEN_PEPPER is not set.",
            lost,
        )
        yield failure(text % {"count": lost}, _("Add the former pepper with its version number to TOKEN_PEPPER."))
    else:
        yield passed(_("All active tokens can be verified"))
