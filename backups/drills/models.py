"""The tables of restore drills: drills, the assertions of a database, and the state of the sandboxes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups import querysets
from backups.drills import assertions, outcomes
from portal.base import words

ENGINES = [
    (outcomes.SQLITE, "SQLite"),
    (outcomes.POSTGRESQL, "PostgreSQL"),
    (outcomes.MYSQL, "MySQL"),
    (outcomes.MARIADB, "MariaDB"),
]


class RestoreDrill(models.Model):
    """One attempt to restore a stored dump, and what came back: see `backups.drills.outcomes`.

    While it runs, `bytes_read` of the stored file's bytes have been read. `losses` are the reasons why it is no proof
    although the dump was restored. `schema` is kept with the latest drill of each database only.
    """

    class Status(models.TextChoices):
        RUNNING = "RUNNING", _("running")
        PROVEN = outcomes.PROVEN, _("proven")
        FAILED = outcomes.FAILED, _("failed")
        UNSUPPORTED = outcomes.UNSUPPORTED, _("not supported")

    job = models.ForeignKey(
        "backups.ExpectedBackupJob", models.CASCADE, related_name="drills", verbose_name=_("expected backup")
    )
    entry = models.ForeignKey("backups.BackupEntry", models.CASCADE, related_name="drills", verbose_name=_("backup"))
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.RUNNING)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)
    bytes_read = models.BigIntegerField(_("bytes read"), default=0)
    engine = models.CharField(_("engine"), max_length=12, blank=True, choices=ENGINES)
    version = models.CharField(_("version of the source server"), max_length=32, blank=True)
    restored_with = models.CharField(_("version of the sandbox"), max_length=64, blank=True)
    format = models.CharField(_("format"), max_length=12, blank=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True)
    size = models.BigIntegerField(_("size of the restored database"), null=True)
    tables = models.PositiveIntegerField(_("tables"), null=True)
    rows: Any = models.JSONField(_("rows per table"), default=dict)
    errors: Any = models.JSONField(_("errors"), default=list)
    errors_omitted = models.PositiveIntegerField(_("further errors"), default=0)
    warnings: Any = models.JSONField(_("warnings"), default=list)
    assertions: Any = models.JSONField(_("assertions"), default=list)
    losses: Any = models.JSONField(_("why it is not proven"), default=list)
    schema = models.TextField(blank=True, editable=False)

    objects = querysets.RestoreDrillQuerySet.as_manager()

    class Meta:
        verbose_name = _("restore drill")
        verbose_name_plural = _("restore drills")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["job", "-id"], name="drill_of_job"),
            models.Index(fields=["status", "-id"], name="drill_status"),
        ]
        permissions = [("export_restoredrill", _("Can export restore drills"))]

    def __str__(self) -> str:
        return f"{self.job} {words.format_moment(self.started_at)}"

    @property
    def is_proof(self) -> bool:
        return self.status == self.Status.PROVEN and not self.losses

    @property
    def row_count(self) -> int:
        return sum(self.rows.values())


class DrillAssertion(models.Model):
    """A query on each restored database of one expected backup, and what its one value must be."""

    class Comparison(models.TextChoices):
        EQUAL = assertions.EQUAL, _("equal to")
        AT_LEAST = assertions.AT_LEAST, _("at least")
        AT_MOST = assertions.AT_MOST, _("at most")
        WITHIN_HOURS = assertions.WITHIN_HOURS, _("a time within the last (hours)")

    job = models.ForeignKey(
        "backups.ExpectedBackupJob", models.CASCADE, related_name="assertions", verbose_name=_("expected backup")
    )
    name = models.CharField(_("name"), max_length=128)
    query = models.TextField(_("query"), validators=[MaxLengthValidator(4_000)])
    comparison = models.CharField(
        _("comparison"), max_length=16, choices=Comparison.choices, default=Comparison.AT_LEAST
    )
    expected = models.CharField(_("expected"), max_length=64)

    class Meta:
        verbose_name = _("assertion")
        verbose_name_plural = _("assertions")
        ordering = ["job", "name"]
        constraints = [models.UniqueConstraint(fields=["job", "name"], name="one_assertion_per_name")]
        permissions = [("export_drillassertion", _("Can export assertions"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.expected and not assertions.is_valid_expectation(self.comparison, self.expected):
            raise ValidationError({"expected": _("Enter a number.")})


class DrillSandbox(models.Model):
    """A sandbox that could not be used, until it can. `jobs` are those that it could not restore."""

    engine = models.CharField(_("engine"), max_length=12, unique=True, choices=ENGINES)
    trouble: Any = models.JSONField(_("problem"), default=dict)
    troubled_since = models.DateTimeField(_("since"), default=timezone.now)

    class Meta:
        verbose_name = _("unavailable sandbox")
        verbose_name_plural = _("unavailable sandboxes")

    def __str__(self) -> str:
        return self.get_engine_display()
