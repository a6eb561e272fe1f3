"""Expected backups and the entry of each cycle."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from vigie_client.contract import MACHINE_ID

from backups import cycles, querysets, reasons, validators
from backups.drills.models import DrillAssertion as DrillAssertion
from backups.drills.models import DrillSandbox as DrillSandbox
from backups.drills.models import RestoreDrill as RestoreDrill
from backups.offsite.models import OffsiteCopy as OffsiteCopy
from backups.scanner.disk import paths
from backups.scanner.models import DepositArea as DepositArea
from backups.scanner.models import Scan as Scan
from portal.base import cron, words

LOOK_BACK_CYCLES = 22  # 14 to catch up with, the current one, and 7 to compare sizes with
KEPT_VALIDATOR, TEMPLATE_VALIDATORS = MaxValueValidator(10_000), [validators.validate_template]
STORED_CONDITION, UNSTORED_CONDITION = Q(promotion__in=querysets.STORED), Q(promotion__in=querysets.UNSTORED)


class Status(models.TextChoices):
    """Status of an expected backup. PENDING precedes any verdict."""

    PENDING = "PENDING", _("pending")
    MISSING = "MISSING", _("missing")
    FAILED = "FAILED", _("failed")
    TRANSFER_INTEGRITY_FAILED = "TRANSFER_INTEGRITY_FAILED", _("corrupted")
    # Stored and sent under its first name, although it is good news: the dump equals the one verified before.
    UNCHANGED = "HASH_MISMATCH", _("unchanged")
    UNVERIFIED = "UNVERIFIED", _("superseded before verification")
    SUCCESS = "SUCCESS", _("verified")


FAILURES = (Status.MISSING, Status.FAILED, Status.TRANSFER_INTEGRITY_FAILED)
VERIFIED = tuple(map(Status, querysets.VERIFIED))


class ExpectedBackupJob(models.Model):
    """One database of one machine whose backup is expected on a timetable.

    Cycles count from `watched_since`: its creation, or the last change of its timetable. A machine whose jobs are all
    settled is not scanned until the cycle after `settled_at` opens. `alerted_severity` is set from the notice of a
    failure until that of its recovery. With `in_doubt`, the latest backup is verified with doubts about its content. A
    verified backup protects for `fresh_for`. New dumps are stored in `storage_folder`. Its backups were last proven at
    `proven_at` by a restore drill, which counts until `proven_until` (None: for ever) unless `proof_lost` says why not.
    """

    class Frequency(models.TextChoices):
        DAILY = "daily", _("daily")
        WEEKLY = "weekly", _("weekly")

    class UnchangedPolicy(models.TextChoices):
        INFORM = "inform", pgettext_lazy("policy", "note")
        IGNORE = "ignore", _("ignore")
        ALERT = "alert", _("alert")

    agent_id = models.CharField(_("machine"), max_length=128, validators=[RegexValidator(rf"\A{MACHINE_ID}\Z")])
    database_name = models.CharField(_("database"), max_length=128, validators=[validators.validate_name])
    company_name = models.CharField(_("company"), max_length=128, blank=True)
    city = models.CharField(_("city"), max_length=128, blank=True)
    neighborhood = models.CharField(_("neighbourhood"), max_length=128, blank=True)
    year = models.PositiveSmallIntegerField(_("year"), null=True, blank=True, validators=[MaxValueValidator(9_999)])
    expected_hour_utc = models.PositiveSmallIntegerField(_("hour (UTC)"), default=0, validators=[MaxValueValidator(23)])
    expected_minute_utc = models.PositiveSmallIntegerField(
        _("minute (UTC)"), default=0, validators=[MaxValueValidator(59)]
    )
    expected_frequency = models.CharField(
        _("frequency"), max_length=8, choices=Frequency.choices, default=Frequency.DAILY
    )
    days_of_week = models.CharField(
        _("days of the week"), max_length=32, blank=True, validators=[validators.validate_weekdays]
    )
    window_minutes = models.PositiveIntegerField(
        _("grace period (minutes)"), default=30, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    early_minutes = models.PositiveIntegerField(
        _("early tolerance (minutes)"), default=30, validators=[MaxValueValidator(1_440)]
    )
    schedule = models.CharField(
        _("cron expression"), max_length=cron.LONGEST, blank=True, validators=[validators.validate_schedule]
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validators.validate_zone])
    agent_deposit_path_template = models.CharField(
        _("dump folder"), max_length=255, default="{agent_id}/database", validators=TEMPLATE_VALIDATORS
    )
    agent_log_deposit_path_template = models.CharField(
        _("report folder"), max_length=255, default="{agent_id}/log", validators=TEMPLATE_VALIDATORS
    )
    final_storage_path_template = models.CharField(
        _("storage folder"),
        max_length=255,
        default="{company_name}/{city}/{database_name}",
        validators=TEMPLATE_VALIDATORS,
    )
    min_size_bytes = models.BigIntegerField(_("minimum size (bytes)"), default=0, validators=[MinValueValidator(0)])
    max_shrink_percent = models.PositiveSmallIntegerField(
        _("shrink warning (%)"),
        default=50,
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text=_("Warn if smaller than the median of the last 7 by more than this. Leave empty to disable."),
    )
    unchanged_policy = models.CharField(
        _("if identical to the previous dump"),
        max_length=8,
        choices=UnchangedPolicy.choices,
        default=UnchangedPolicy.INFORM,
    )
    deep_check = models.BooleanField(
        _("test decompression"),
        default=True,
        help_text=_("Detects truncated files; about 13× slower than hashing."),
    )
    keep_last = models.PositiveSmallIntegerField(
        _("latest versions to keep"), default=7, validators=[MinValueValidator(1), KEPT_VALIDATOR]
    )
    keep_daily = models.PositiveSmallIntegerField(_("daily versions to keep"), default=7, validators=[KEPT_VALIDATOR])
    keep_weekly = models.PositiveSmallIntegerField(_("weekly versions to keep"), default=4, validators=[KEPT_VALIDATOR])
    keep_monthly = models.PositiveSmallIntegerField(
        _("monthly versions to keep"), default=12, validators=[KEPT_VALIDATOR]
    )
    drill_every_days = models.PositiveSmallIntegerField(
        _("days between restore drills"), default=7, db_default=7, validators=[MaxValueValidator(365)]
    )
    is_active = models.BooleanField(_("enabled"), default=True)
    paused_until = models.DateTimeField(
        _("paused until"), null=True, blank=True, validators=[validators.validate_moment]
    )
    current_status = models.CharField(
        _("status"), max_length=32, choices=Status.choices, default=Status.PENDING, editable=False
    )
    status_since = models.DateTimeField(_("since"), null=True, editable=False)
    last_checked_at = models.DateTimeField(_("last scanned"), null=True, blank=True, editable=False)
    last_success_at = models.DateTimeField(_("last success"), null=True, blank=True, editable=False)
    last_verified_at = models.DateTimeField(_("last verified"), null=True, blank=True, editable=False)
    in_doubt = models.BooleanField(_("suspicious"), default=False, editable=False)
    fresh_for = models.DurationField(default=timedelta(days=2), editable=False)
    previous_successful_hash = models.CharField(_("last verified SHA-256"), max_length=64, blank=True, editable=False)
    storage_folder = models.CharField(max_length=1_000, blank=True, editable=False)
    settled_at = models.DateTimeField(null=True, editable=False)
    watched_since = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    alerted_severity = models.PositiveSmallIntegerField(null=True, editable=False)
    reverified_at = models.DateTimeField(_("current version re-verified"), null=True, editable=False)
    damage: Any = models.JSONField(_("corruption of the current version"), null=True, editable=False)
    damaged_since = models.DateTimeField(null=True, editable=False)
    next_drill_at = models.DateTimeField(_("next restore drill"), default=timezone.now, null=True, editable=False)
    drill_requested_at = models.DateTimeField(null=True, editable=False)
    # What kept its last drill from running.
    unavailable_sandbox = models.ForeignKey(
        "backups.DrillSandbox", models.SET_NULL, related_name="jobs", null=True, editable=False
    )
    proven_at = models.DateTimeField(_("proven"), null=True, editable=False)
    proven_until = models.DateTimeField(null=True, editable=False)
    proof_lost: Any = models.JSONField(_("why it is not proven"), null=True, editable=False)
    proof_lost_at = models.DateTimeField(null=True, editable=False)

    objects = querysets.ExpectedBackupJobQuerySet.as_manager()

    class Meta:
        verbose_name = _("expected backup")
        verbose_name_plural = _("expected backups")
        ordering = ["agent_id", "database_name"]
        constraints = [models.UniqueConstraint(fields=["agent_id", "database_name"], name="one_job_per_database")]
        indexes = [
            models.Index(fields=["current_status", "agent_id", "database_name"], name="backupjob_status"),
            # This operator class lets PostgreSQL find a beginning by the index; other databases ignore it.
            models.Index(fields=["agent_id"], name="backupjob_agent", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["database_name"], name="backupjob_database", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["company_name"], name="backupjob_company", opclasses=["varchar_pattern_ops"]),
            models.Index(Upper("storage_folder"), name="backupjob_storage"),
            models.Index(fields=["next_drill_at"], name="backupjob_next_drill"),
        ]
        permissions = [
            ("export_expectedbackupjob", _("Can export expected backups")),
            ("scan_expectedbackupjob", _("Can start scans")),
            ("download_expectedbackupjob", _("Can download backups")),
            ("drill_expectedbackupjob", _("Can start restore drills")),
        ]

    def __str__(self) -> str:
        return f"{self.agent_id} {self.database_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, with derived columns. A changed timetable restarts the cycle count."""
        own = {"storage_folder", "fresh_for"}
        self.fresh_for = cycles.freshness_period(self)
        self.storage_folder = "/".join(paths.storage_folder(self))
        if self._state.adding:
            self.database_name = paths.normalize_name(self.database_name)
        elif self.restarts_cycles():
            self.watched_since, self.settled_at = timezone.now(), None
            own |= {"watched_since", "settled_at"}
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], *own}
        super().save(*args, **kwargs)

    def clean(self) -> None:
        try:
            validators.refuse_overlapping(self)
        except (ValueError, TypeError):
            return  # its own field reports the error
        validators.refuse_shared_storage(self)

    def restarts_cycles(self) -> bool:
        """Return True if the unsaved changes affect which cycles there are."""
        names = ("agent_id", "database_name", *cycles.TIMETABLE_FIELDS, "is_active")
        known = type(self).objects.filter(pk=self.pk).values(*names, "paused_until").first()
        if known is None:
            return False
        pause, now = known["paused_until"], timezone.now()
        ends_early = pause is not None and pause > now and (self.paused_until is None or self.paused_until < pause)
        return ends_early or any(known[name] != getattr(self, name) for name in names)

    @property
    def timetable(self) -> cycles.Timetable:
        """The expected times. Raises ValueError for an unknown weekday."""
        return cycles.timetable_of(self)

    def looks_back_to(self, now: datetime) -> datetime:
        """Return how far a scan looks back: for cycles to catch up with, and sizes to compare."""
        if self.schedule:
            return next(islice(cycles.expected_times(self.timetable, now, -1), LOOK_BACK_CYCLES, None))
        is_every_day = self.expected_frequency == self.Frequency.DAILY and not self.days_of_week
        return now - LOOK_BACK_CYCLES * (timedelta(days=1) if is_every_day else timedelta(weeks=1))

    @property
    def is_proven(self) -> bool:
        """True if the last restore drill proved that its backups can be restored: `protection.proven`."""
        return self.proven_at is not None and self.proof_lost is None

    def fails_as(self, status: str) -> bool:
        """Return True if a status needs an operator. An unchanged dump does if the job's policy is ALERT."""
        if status == Status.UNCHANGED:
            return self.unchanged_policy == self.UnchangedPolicy.ALERT
        return status in FAILURES

    def is_watched(self, now: datetime) -> bool:
        return self.is_active and (self.paused_until is None or self.paused_until <= now)

    def counts_from(self, now: datetime) -> datetime:
        """Return the first moment that counts: cycles before it are ignored, since the job was new or paused."""
        if self.paused_until is not None and self.watched_since < self.paused_until <= now:
            return self.paused_until
        return self.watched_since


class BackupEntry(models.Model):
    """The verdict on one cycle of one job. A late arrival changes everything but `first_status`.

    `promotion` follows the dump: first the current version, then a version, until retention removes it.
    """

    class Promotion(models.TextChoices):
        NONE = "none", _("not stored")
        WAITING = "waiting", _("waiting to be stored")
        FAILED = "failed", _("storage failed")
        LOST = "lost", _("lost before storage")
        PROMOTED = "promoted", _("current version")
        ARCHIVED = "archived", _("earlier version")
        REMOVED = "removed", _("removed by retention")

    job = models.ForeignKey(
        ExpectedBackupJob, models.CASCADE, related_name="entries", verbose_name=_("expected backup")
    )
    cycle_at = models.DateTimeField(_("scheduled"))
    status = models.CharField(_("status"), max_length=32, choices=Status.choices)
    first_status = models.CharField(_("first status"), max_length=32, choices=Status.choices)
    late = models.BooleanField(pgettext_lazy("backup", "late"), default=False)
    reasons: Any = models.JSONField(_("reasons"), default=list)
    warnings: Any = models.JSONField(_("warnings"), default=list)
    agent_sha256 = models.CharField(_("SHA-256 (machine)"), max_length=64, blank=True)
    agent_size = models.BigIntegerField(_("size (machine)"), null=True)
    server_sha256 = models.CharField(_("SHA-256 (server)"), max_length=64, blank=True)
    server_size = models.BigIntegerField(_("size (server)"), null=True)
    report_name = models.CharField(_("report"), max_length=255, blank=True)
    report_at = models.DateTimeField(_("reported"), null=True)
    staged_name = models.CharField(_("file"), max_length=255, blank=True)
    # Status, times and size of each step, as reported.
    steps: Any = models.JSONField(_("steps"), default=dict)
    # The key of a bad staged file, which is hashed again only once it has changed.
    judged: Any = models.JSONField(null=True, editable=False)
    promotion = models.CharField(_("storage"), max_length=8, choices=Promotion.choices, default=Promotion.NONE)
    promotion_reason: Any = models.JSONField(_("reason not stored"), null=True)
    # Below the root of verified backups. The job's folder may have changed since.
    stored_path = models.CharField(_("stored as"), max_length=1_500, blank=True)
    recorded_at = models.DateTimeField(_("recorded"))
    changed_at = models.DateTimeField(_("changed"))

    objects = querysets.BackupEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("backup")
        verbose_name_plural = _("backups")
        ordering = ["-cycle_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["job", "cycle_at"], name="one_entry_per_cycle")]
        indexes = [
            models.Index(fields=["-cycle_at", "-id"], name="backup_newest"),
            models.Index(fields=["status", "-cycle_at", "-id"], name="backup_status_newest"),
            models.Index(fields=["job", "promotion"], name="backup_stored", condition=STORED_CONDITION),
            models.Index(fields=["promotion"], name="backup_unstored", condition=UNSTORED_CONDITION),
        ]
        permissions = [("export_backupentry", _("Can export backups"))]

    def __str__(self) -> str:
        return f"{self.job} {words.format_moment(self.cycle_at)}"

    @property
    def message(self) -> str:
        return reasons.format_reasons(self.reasons)

    @property
    def is_verified(self) -> bool:
        return self.status in VERIFIED

    @property
    def doubts(self) -> list[str]:
        """The warnings about the content of the dump: an older version may be better."""
        return [code for code in self.warnings if code in reasons.DOUBTS]

    @property
    def has_doubts(self) -> bool:
        return bool(self.doubts)

    @property
    def is_good(self) -> bool:
        """True if verified without doubts about its content."""
        return self.is_verified and not self.has_doubts

    @property
    def version_name(self) -> str:
        return f"{self.cycle_at:%Y%m%dT%H%MZ}_{self.staged_name}"

    @property
    def path_as_version(self) -> str:
        """The stored path once the dump is a version in the folder it is in."""
        folder = self.stored_path.split("/")[:-2]
        return "/".join([*folder, paths.VERSIONS, self.version_name])
