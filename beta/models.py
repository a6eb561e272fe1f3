"""Beta programmes, the feedback of their participants, and snapshots of reports."""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from vigie_client import contract

from beta.feedback.origins import refuse_bad_origins
from beta.querysets import BetaFeedbackQuerySet, BetaProgrammeQuerySet
from monitoring.models import Incident, Target
from portal.access.tokens.credential import random_text
from portal.base.words import format_moment
from portal.desk.models import Assignable
from portal.models import CountingWindow
from usage.clocks import clock_field

KEY_LENGTH = 22
BEST_SCORE = contract.MAX_SCORE
# Error rates must be below the limit: this is the lowest limit that can be met.
LEAST_ERROR_PERCENT = Decimal("0.01")


def new_key() -> str:
    return random_text(KEY_LENGTH)


class BetaProgramme(models.Model):
    """A beta test of a product, its days (both included, in the portal's time zone), and its thresholds.

    `public_key` is part of web forms and of the address of the public page. It lets feedback in and nothing out.
    `allowed_origins` are the origins whose pages may use it, one a line.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    product = models.CharField(_("product"), max_length=100, blank=True)
    starts = models.DateField(_("starts"), default=timezone.localdate)
    ends = models.DateField(_("ends"), null=True, blank=True)

    participants_target = models.PositiveIntegerField(
        _("participants"), default=5, validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    score_target = models.DecimalField(
        _("average score"),
        max_digits=4,
        decimal_places=2,
        default=7,
        validators=[MinValueValidator(0), MaxValueValidator(BEST_SCORE)],
    )
    latency_target_ms = models.PositiveIntegerField(
        _("response time (ms)"), default=500, validators=[MinValueValidator(1), MaxValueValidator(30_000)]
    )
    error_percent_target = models.DecimalField(
        _("error rate (%)"),
        max_digits=5,
        decimal_places=2,
        default=1,
        validators=[MinValueValidator(LEAST_ERROR_PERCENT), MaxValueValidator(100)],
    )

    public_key = models.CharField(_("public key"), max_length=KEY_LENGTH, unique=True, default=new_key, editable=False)
    takes_public = models.BooleanField(_("accept feedback without a token"), default=True)
    allowed_origins = models.TextField(_("allowed origins"), blank=True, validators=[refuse_bad_origins])
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    targets = models.ManyToManyField(
        Target, through="ProgrammeTarget", related_name="beta_programmes", related_query_name="beta_programme"
    )

    objects = BetaProgrammeQuerySet.as_manager()

    class Meta:
        db_table = "monitoring_betaprogramme"
        verbose_name, verbose_name_plural = _("beta programme"), _("beta programmes")
        ordering = ["-starts", "-id"]
        permissions = [("export_betaprogramme", _("Can export beta programmes and their reports"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.starts and self.ends and self.ends < self.starts:
            raise ValidationError({"ends": _("The end date can’t be before the start date.")})

    @property
    def subject(self) -> str:
        return f"beta:{self.pk}"

    def is_running(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day <= self.ends)

    def accepts_public(self, day: date) -> bool:
        """Return True if feedback by the public key is accepted on that day."""
        return self.takes_public and self.is_running(day)


class ProgrammeTarget(models.Model):
    """Assignment of a target to the programme whose performance it counts for. A target has at most one."""

    target = models.OneToOneField(Target, models.CASCADE, related_name="programme_link", verbose_name=_("target"))
    programme = models.ForeignKey(
        BetaProgramme, models.CASCADE, related_name="target_links", verbose_name=_("beta programme")
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.target_id} {self.programme_id}"


class FeedbackTag(models.Model):
    """A tag in lower case, by which operators sort feedback."""

    name = models.CharField(_("tag"), max_length=40, unique=True)

    class Meta:
        db_table = "monitoring_feedbacktag"
        verbose_name, verbose_name_plural = _("tag"), _("tags")
        ordering = ["name"]
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class BetaFeedback(Assignable):
    """One submission of a participant. `participant` is in lower case, so that each counts once.

    `source` is the token that sent it (`client:<label>`, `agent:<machine_id>`), or `public` for a programme's key.
    `given_at` is the sender's time, corrected for their clock as noted in `clock`. `digest` is of the content as sent:
    triage changes type and severity, and a repetition must still be recognized. `triaged_at` is when triage last
    changed type or severity, or reopened the feedback.
    """

    class Type(models.TextChoices):
        BUG = "bug", _("bug")
        UX = "ux", _("usability")
        FEATURE = "feature", _("feature request")
        OTHER = "other", _("other")

    class Severity(models.TextChoices):
        CRITICAL = "critical", _("critical")
        HIGH = "high", _("high")
        MEDIUM = "medium", _("medium")
        LOW = "low", _("low")

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        PLANNED = "planned", _("planned")
        FIXED = "fixed", _("fixed")
        DECLINED = "declined", _("won’t fix")
        DUPLICATE = "duplicate", _("duplicate")

    # States of feedback that waits, and severities that hold a release back.
    UNSETTLED: ClassVar = (Status.OPEN, Status.PLANNED)
    GRAVE: ClassVar = (Severity.CRITICAL, Severity.HIGH)
    PUBLIC: ClassVar = "public"

    feedback_id = models.UUIDField(_("sender’s id"), unique=True, editable=False)
    programme = models.ForeignKey(
        BetaProgramme, models.CASCADE, related_name="feedback", verbose_name=_("programme"), db_index=False
    )
    participant = models.CharField(_("participant"), max_length=254)
    type = models.CharField(_("type"), max_length=8, choices=Type)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity, blank=True)
    nps_score = models.PositiveSmallIntegerField(_("score"), null=True)
    comment = models.TextField(_("comment"), blank=True)
    page = models.CharField(_("page"), max_length=200, blank=True)
    app_version = models.CharField(_("version"), max_length=64, blank=True)
    source = models.CharField(_("source"), max_length=160)
    given_at = models.DateTimeField(pgettext_lazy("date", "sent"))
    clock = clock_field()
    received_at = models.DateTimeField(_("received"))
    triaged_at = models.DateTimeField(null=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)

    status = models.CharField(_("status"), max_length=9, choices=Status, default=Status.OPEN)
    duplicate_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="duplicates", verbose_name=_("duplicate of")
    )
    tags = models.ManyToManyField(FeedbackTag, blank=True, related_name="feedback", verbose_name=_("tags"))
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="feedback", verbose_name=_("incident")
    )
    fix_version = models.CharField(_("fixed in version"), max_length=64, blank=True)

    objects = BetaFeedbackQuerySet.as_manager()

    class Meta:
        db_table = "monitoring_betafeedback"
        verbose_name, verbose_name_plural = _("feedback"), _("feedback")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["programme", "-id"], name="feedback_programme"),
            models.Index(fields=["programme", "type", "-given_at"], name="feedback_given"),
            models.Index(
                fields=["programme", "participant", "-given_at", "-id", "nps_score"], name="feedback_participant"
            ),
            models.Index(fields=["source", "-id"], name="feedback_source"),
            models.Index(fields=["-id"], name="feedback_unsettled", condition=Q(status__in=["open", "planned"])),
            models.Index(
                fields=["programme", "severity", "received_at"],
                name="feedback_bugs_waiting",
                condition=Q(type="bug", status__in=["open", "planned"]),
            ),
        ]
        constraints = [
            models.CheckConstraint(name="feedback_score", condition=Q(nps_score=None) | Q(nps_score__lte=BEST_SCORE)),
        ]
        permissions = [("export_betafeedback", _("Can export feedback"))]

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def subject(self) -> str:
        return f"feedback:{self.pk}"


class BetaSnapshot(models.Model):
    """A stored report, in the form of `beta.report.gather.Report`. It never changes."""

    class Reason(models.TextChoices):
        EXPORTED = "exported", _("exported")
        COMMAND = "command", _("command line")
        VERDICT = "verdict", _("verdict changed")
        CLOSED = "closed", _("programme ended")

    programme = models.ForeignKey(
        BetaProgramme, models.CASCADE, related_name="snapshots", verbose_name=_("programme"), db_index=False
    )
    taken_at = models.DateTimeField(_("saved"))
    verdict = models.CharField(_("verdict"), max_length=20)
    reason = models.CharField(_("reason"), max_length=8, choices=Reason)
    taken_by = models.CharField(_("by"), max_length=150, blank=True)
    data = models.JSONField(_("report"))

    class Meta:
        db_table = "monitoring_betasnapshot"
        verbose_name, verbose_name_plural = _("saved report"), _("saved reports")
        ordering = ["-id"]
        indexes = [models.Index(fields=["programme", "-id"], name="snapshot_programme")]
        permissions = [("export_betasnapshot", _("Can export beta reports"))]

    def __str__(self) -> str:
        return f"{self.programme} {format_moment(self.taken_at)}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raise ValueError if the snapshot is stored already."""
        if self.pk is not None and not kwargs.get("force_insert"):
            raise ValueError("A report that was kept does not change.")
        super().save(*args, **kwargs)


class FeedbackWindow(CountingWindow):
    """Rate limit window of a public key or an address, which is stored as a keyed hash."""

    key = models.CharField(max_length=64, unique=True)

    class Meta:
        db_table = "monitoring_feedbackwindow"
        verbose_name = verbose_name_plural = _("feedback rate limit")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key[:8]}: {self.count}"
