"""Findings of all apps, worst first, and the portal's own."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Max, Min
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from portal.base import disks
from portal.base.addresses import is_this_machine
from portal.base.findings import Finding, FindingSource, Severity, admin_url, finding_sources
from portal.base.words import readers_zone
from portal.models import AuditEvent, ChannelState, JobRun, OutboxMessage, TaskAttempt
from portal.notifications.configuration import ENVIRONMENT_CHANNELS, active_channels, has_alert_channel
from portal.status import health
from portal.work.names import describe_work

log = logging.getLogger("vigie.findings")
# The landing page is polled by every browser that shows it, and asks some forty questions.
FRESH_SECONDS = 10


def recent_findings(now: datetime) -> list[Finding]:
    """All findings, at most ten seconds old, and none older than the last action in the audit trail.

    Their texts depend on the reader's language and time zone, and on nothing else of the reader.
    """
    last = AuditEvent.objects.aggregate(Max("pk"))["pk__max"]
    key = f"desk.findings.{get_language()}.{readers_zone()}.{last}"
    found: list[Finding] = cache.get_or_set(key, lambda: current_findings(now), FRESH_SECONDS) or []
    return found


def current_findings(now: datetime) -> list[Finding]:
    """All findings, worst and oldest first."""
    findings = [finding for source in finding_sources.all() for finding in findings_of(source, now)]
    return sorted(findings, key=lambda finding: (finding.severity, finding.since or now))


def findings_of(source: FindingSource, now: datetime) -> list[Finding]:
    """Return one source's findings. A failing source becomes a finding itself, and does not hide the others."""
    try:
        return list(source(now))
    except Exception:
        name = f"{source.__module__}.{getattr(source, '__name__', '')}"
        log.exception("the findings of %s failed", name)
        text = _("Can’t check %(source)s for problems. See the log for the cause.") % {"source": name}
        return [Finding(Severity.CRITICAL, text)]


# --- The portal's own ------------------------------------------------------------------------------------------------

GIVEN_UP_SHOWN = timedelta(days=1)


@finding_sources.register
def silent_components(now: datetime) -> Iterator[Finding]:
    checks = health.heartbeat_checks(now)
    silent = {name: check for name, check in checks.items() if check.word != "ok"}
    if len(silent) == len(checks):
        text = _("Background work is stopped: nothing is checked and no alert is sent. Start it with “manage.py up”.")
        since = min((check.since for check in silent.values() if check.since), default=None)
        yield Finding(Severity.CRITICAL, text, since, key="portal.component:all")
        return
    for name, check in silent.items():
        text = _("Part of the background work is stopped: “%(component)s” isn’t running.") % {"component": name}
        yield Finding(Severity.CRITICAL, text, check.since, key=f"portal.component:{name}")


@finding_sources.register
def full_disks(now: datetime) -> Iterator[Finding]:
    for disk in disks.list_disks():
        words = {"folders": ", ".join(map(str, disk.folders)), "free": filesizeformat(disk.free)}
        if disk.is_full:
            yield Finding(Severity.CRITICAL, _("The disk of %(folders)s is full.") % words)
        elif disk.free < settings.DISK_WARNING_MIB * disks.MIB:
            is_late = disk.free < settings.DISK_RESERVE_MIB * disks.MIB
            text = _("The disk of %(folders)s has only %(free)s left.") % words
            yield Finding(Severity.CRITICAL if is_late else Severity.WARNING, text)


@finding_sources.register
def failed_jobs(now: datetime) -> Iterator[Finding]:
    """Jobs whose latest cycle failed; the next one that succeeds clears it."""
    for run in JobRun.objects.newest().filter(status=JobRun.Status.FAILED):
        text = _("Job “%(job)s” failed: %(error)s") % {"job": describe_work(run.job), "error": run.error}
        url = admin_url("portal_jobrun_changelist", {"q": run.job})
        yield Finding(Severity.WARNING, text, run.finished_at, url, _("View runs"))


@finding_sources.register
def given_up_tasks(now: datetime) -> Iterator[Finding]:
    recent = TaskAttempt.objects.given_up().filter(finished_at__gt=now - GIVEN_UP_SHOWN)
    for attempt in recent.order_by("-pk")[:10]:
        text = _("Task “%(name)s” was discarded: it ended its worker process on every attempt.") % {
            "name": describe_work(attempt.name)
        }
        url = admin_url("portal_taskattempt_changelist", {"q": attempt.name})
        key = f"portal.task:{attempt.pk}"
        yield Finding(Severity.WARNING, text, attempt.finished_at, url, _("View task"), key=key)


@finding_sources.register
def unsafe_settings(now: datetime) -> Iterator[Finding]:
    if settings.DEBUG:
        yield Finding(
            Severity.WARNING,
            _("DEBUG is on: error pages show the portal’s internals to every visitor. Turn it off in production."),
        )
    address = urlsplit(settings.PORTAL_URL)
    if not is_this_machine(address.hostname or "") and not (settings.HTTPS and address.scheme == "https"):
        yield Finding(
            Severity.WARNING, _("The portal is reached without HTTPS: tokens and passwords can be read in transit.")
        )


# --- Whether operators are told ---------------------------------------------------------------------------------------

FAILED_SHOWN = timedelta(days=1)
TOO_LONG = timedelta(hours=1)
CHANNELS, MESSAGES = "portal_notificationchannel", "portal_outboxmessage"


@finding_sources.register
def missing_channels(now: datetime) -> Iterator[Finding]:
    if bool(settings.TELEGRAM_BOT_TOKEN) != bool(settings.TELEGRAM_CHAT_ID):
        yield Finding(
            Severity.WARNING,
            _("Telegram is off: only one of TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID is set. Set both."),
        )
    if not has_alert_channel():
        text = _("No one gets alerts: there is no active notification channel.")
        yield Finding(Severity.WARNING, text, url=admin_url(f"{CHANNELS}_add", {}), action=_("Add a channel"))


@finding_sources.register
def disabled_channels(now: datetime) -> Iterator[Finding]:
    """Yield active channels that a failure has disabled."""
    channels = {channel.key: channel for channel in active_channels()}
    for state in ChannelState.objects.filter(channel__in=channels).exclude(disabled_at=None).order_by("disabled_at"):
        channel = channels[state.channel]
        text = _(
            "Channel “%(name)s” is disabled: it no longer sends notifications. %(reason)s Its messages are waiting."
        )
        words = {"name": channel.name, "reason": end_sentence(state.disabled_reason)}
        if channel.environment_key:
            text = _(
                "%(name)s is disabled: it no longer sends notifications. %(reason)s Change %(settings)s, or re-enable "
                "it."
            )
            words["settings"] = ENVIRONMENT_CHANNELS[channel.environment_key].settings
        url = reverse(f"admin:{CHANNELS}_change", args=[channel.pk])
        key = f"portal.channel:{state.channel}"
        yield Finding(Severity.CRITICAL, text % words, state.disabled_at, url, _("View channel"), key=key)


def end_sentence(text: str) -> str:
    """Return the text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


@finding_sources.register
def undelivered_messages(now: datetime) -> Iterator[Finding]:
    failed = OutboxMessage.objects.filter(status="failed", finished_at__gt=now - FAILED_SHOWN)
    late = OutboxMessage.objects.waiting().filter(created_at__lt=now - TOO_LONG)
    summary = failed.aggregate(count=Count("pk"), since=Min("finished_at"))
    if summary["count"]:
        text = ngettext("%(count)d message failed.", "%(count)d messages failed.", summary["count"])
        yield about_messages(text, summary, "failed")
    summary = late.aggregate(count=Count("pk"), since=Min("created_at"))
    if summary["count"]:
        text = ngettext(
            "%(count)d message has been waiting to be sent for more than an hour.",
            "%(count)d messages have been waiting to be sent for more than an hour.",
            summary["count"],
        )
        yield about_messages(text, summary, "waiting")


def about_messages(text: str, found: dict[str, Any], status: str) -> Finding:
    url = admin_url(f"{MESSAGES}_changelist", {"status": status})
    return Finding(Severity.WARNING, text % {"count": found["count"]}, found["since"], url, _("View messages"))
