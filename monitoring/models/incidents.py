"""Incidents and their timelines."""

from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import IsNull
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from monitoring.clock import Mark
from monitoring.error_texts import ERROR_CHOICES
from monitoring.models.targets import Target
from monitoring.querysets import IncidentQuerySet
from portal.base.findings import Severity
from portal.desk.models import Assignable

# Sorts open incidents before the others, by an index.
IS_RESOLVED = IsNull(F("resolved_at"), False)


class Incident(Assignable):
    """A broken rule, from the check that decided it to the one that resolved it.

    `subject` is "target:7", "fleet", "portal", or "fleet:BASE (PATHS)" for an ad-hoc watch; one is open per subject and
    rule. `duration` is measured by the monotonic clock. If `is_withdrawn`, it ended without a recovery. `told_at` is
    empty while silence or maintenance mutes its messages. `comment` belongs to the acknowledgement.
    `watched_until` is the lease of an ad-hoc watch.
    """

    class Rule(models.TextChoices):
        UNAVAILABLE = "unavailable", _("down")
        UNSTABLE = "unstable", _("unstable")
        SLOW = "slow", _("slow")
        CERTIFICATE = "certificate", _("certificate")
        FLEET_ERRORS = "fleet_errors", _("errors across targets")
        FLEET_LATENCY = "fleet_latency", _("slow across targets")
        OFFLINE = "offline", _("the portal is offline")

    CRITICAL_RULES = (Rule.UNAVAILABLE, Rule.UNSTABLE, Rule.FLEET_ERRORS)

    subject = models.CharField(_("subject"), max_length=200)
    target = models.ForeignKey(Target, models.CASCADE, null=True, related_name="incidents", verbose_name=_("target"))
    rule = models.CharField(_("rule"), max_length=16, choices=Rule)
    opened_at = models.DateTimeField(_("opened"))
    opened_boot = models.CharField(max_length=40, blank=True)
    opened_ticks = models.FloatField(default=0)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=150, blank=True)
    comment = models.TextField(_("comment"), max_length=500, blank=True, default="", db_default="")
    resolved_at = models.DateTimeField(_("resolved"), null=True)
    duration = models.DurationField(_("duration"), null=True)
    is_withdrawn = models.BooleanField(_("monitoring stopped"), default=False)
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ERROR_CHOICES)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    facts = models.JSONField(_("details"), default=dict)
    cause = models.TextField(_("root cause"), max_length=2000, blank=True)
    told_at = models.DateTimeField(_("notified"), null=True)
    reminded_at = models.DateTimeField(_("last reminder"), null=True)
    reminders = models.PositiveIntegerField(_("reminders"), default=0)
    watched_until = models.DateTimeField(null=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("incident"), _("incidents")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "rule"], condition=Q(resolved_at__isnull=True), name="incident_open_once"
            )
        ]
        indexes = [
            models.Index(fields=["-id"], name="incident_unresolved", condition=Q(resolved_at__isnull=True)),
            models.Index(IS_RESOLVED, F("id").desc(), name="incident_open_first"),
            models.Index("rule", IS_RESOLVED, F("id").desc(), name="incident_rule_open_first"),
        ]
        permissions = [
            ("export_incident", _("Can export incidents")),
            ("acknowledge_incident", _("Can acknowledge incidents")),
        ]

    def __str__(self) -> str:
        return _now("%(name)s: %(rule)s") % {"name": self.name, "rule": self.get_rule_display()}

    @property
    def name(self) -> str:
        """Return the name of the subject for people."""
        if self.target is not None:
            return self.target.name
        return self.subject.partition(":")[2] or str(_("All targets"))

    @property
    def severity(self) -> Severity:
        return Severity.CRITICAL if self.rule in self.CRITICAL_RULES else Severity.WARNING

    @property
    def opened(self) -> Mark:
        return Mark(self.opened_at, self.opened_boot, self.opened_ticks)


class IncidentEvent(models.Model):
    """A line of an incident's timeline. `detail` belongs to `error_kind`; `text` is what an operator wrote."""

    class Kind(models.TextChoices):
        OPENED = "opened", _("opened")
        CHANGED = "changed", _("the error changed")
        TOLD = "told", _("notified")
        SILENT = "silent", _("alerts off")
        REMINDED = "reminded", _("reminder sent")
        ACKNOWLEDGED = "acknowledged", _("acknowledged")
        UNACKNOWLEDGED = "unacked", _("acknowledgement withdrawn")
        ASSIGNED = "assigned", _("assigned")
        NOTED = "noted", _("root cause saved")
        RESOLVED = "resolved", _("resolved")
        WITHDRAWN = "withdrawn", _("monitoring stopped")

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="timeline", verbose_name=_("incident"))
    at = models.DateTimeField(_("time"))
    kind = models.CharField(_("event"), max_length=12, choices=Kind)
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ERROR_CHOICES)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    text = models.TextField(_("text"), blank=True)
    actor = models.CharField(_("by"), max_length=150, blank=True)

    class Meta:
        verbose_name, verbose_name_plural = _("incident event"), _("incident events")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.incident_id} {self.kind}"
