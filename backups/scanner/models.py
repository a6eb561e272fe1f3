"""The tables of the scanner: the deposit area of each machine, and scans."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups import querysets
from portal.base import words


class DepositArea(models.Model):
    """The folders of one machine's reports and dumps, as the last scan found them.

    `queued_at` is the time of the oldest request of a scan. `unexpected` are databases without a job, `unread`
    unknown JSON files, `spellings` codes of variants: `first_seen` dates them, `ahead` reports before their time.
    """

    agent_id = models.CharField(_("machine"), max_length=128, unique=True)
    queued_at = models.DateTimeField(null=True, editable=False)
    scanned_at = models.DateTimeField(_("scanned"), null=True)
    trouble: Any = models.JSONField(_("problem"), null=True)
    troubled_since = models.DateTimeField(_("since"), null=True)
    unexpected: Any = models.JSONField(_("unknown databases"), default=list)
    unread: Any = models.JSONField(_("unread files"), default=list)
    spellings: Any = models.JSONField(_("report variants"), default=list)
    ahead: Any = models.JSONField(default=dict, editable=False)
    first_seen: Any = models.JSONField(default=dict, null=True, editable=False)

    objects = querysets.DepositAreaQuerySet.as_manager()

    class Meta:
        verbose_name = _("upload area")
        verbose_name_plural = _("upload areas")
        ordering = ["agent_id"]

    def __str__(self) -> str:
        return self.agent_id


class Scan(models.Model):
    """One scan of all machines, or of one, with its counters.

    With `root_is_missing`, nothing could be scanned. `holder` is the process of a command.
    """

    class Source(models.TextChoices):
        SCHEDULE = "schedule", _("schedule")
        ADMIN = "admin", _("operator")
        API = "api", _("API")
        COMMAND = "command", _("command")

    source = models.CharField(_("requested by"), max_length=8, choices=Source.choices)
    at = models.DateTimeField(_("as of"))
    agent_id = models.CharField(_("machine"), max_length=128, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)
    agents = models.PositiveIntegerField(_("machines"), default=0)
    agents_done = models.PositiveIntegerField(_("machines done"), default=0)
    jobs = models.PositiveIntegerField(_("expected backups"), default=0)
    settled = models.PositiveIntegerField(_("already settled"), default=0)
    recorded = models.PositiveIntegerField(_("recorded"), default=0)
    pending = models.PositiveIntegerField(_("pending"), default=0)
    failures = models.PositiveIntegerField(_("failures"), default=0)
    promoted = models.PositiveIntegerField(_("stored"), default=0)
    errors = models.PositiveIntegerField(_("errors"), default=0)
    files_read = models.PositiveBigIntegerField(_("dumps read"), default=0)
    bytes_hashed = models.PositiveBigIntegerField(_("bytes hashed"), default=0)
    root_is_missing = models.BooleanField(_("upload area unavailable"), default=False)
    holder = models.CharField(max_length=128, blank=True, editable=False)

    objects = querysets.ScanQuerySet.as_manager()

    class Meta:
        verbose_name = _("scan")
        verbose_name_plural = _("scans")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["started_at"], name="scan_started"),
            models.Index(fields=["agent_id", "-id"], name="scan_unfinished", condition=Q(finished_at=None)),
        ]

    def __str__(self) -> str:
        return words.format_moment(self.started_at)
