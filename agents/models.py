"""Enrolled machines and their tokens."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from agents.querysets import AgentQuerySet, EnrolmentRequestQuerySet, liveness_bounds
from portal.models import ApiToken


class Agent(models.Model):
    """One machine, from its first enrolment on. Uninstalling keeps the row; no call deletes it."""

    class Status(models.TextChoices):
        ACTIVE = "active", _("active")
        UNINSTALLED = "uninstalled", _("uninstalled")

    class Liveness(models.TextChoices):
        ONLINE = "online", _("online")
        LATE = "late", _("late")
        LOST = "lost", _("gone")

    machine_id = models.CharField(_("machine"), max_length=128, unique=True)
    # The name is `machine_id` in lower case. Only the machine that owns it is found by it: one that was enrolled under
    # another spelling, when case still mattered, keeps its token and its data.
    name = models.GeneratedField(
        expression=Lower("machine_id"), output_field=models.CharField(max_length=128), db_persist=True
    )
    owns_name = models.BooleanField(default=True, editable=False)
    user_name = models.CharField(_("user"), max_length=200, blank=True)
    user_email = models.CharField(_("e-mail"), max_length=254, blank=True)
    user_id = models.CharField(_("user ID"), max_length=128, blank=True)
    hostname = models.CharField(_("host name"), max_length=255, blank=True)
    os_info = models.CharField(_("operating system"), max_length=255, blank=True)
    version = models.CharField(_("version"), max_length=64, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.ACTIVE)
    enrolled_at = models.DateTimeField(_("enrolled"))
    # Not indexed on purpose: updating an index at each heartbeat would not scale.
    last_seen_at = models.DateTimeField(_("last seen"))
    uninstalled_at = models.DateTimeField(_("uninstalled"), null=True, blank=True)
    uninstall_reason = models.CharField(_("uninstall reason"), max_length=255, blank=True)
    enrollment_id = models.CharField(max_length=128, blank=True, editable=False)
    enrolled_with = models.ForeignKey(
        ApiToken, models.SET_NULL, null=True, editable=False, related_name="+", verbose_name=_("enrolled with")
    )
    reenrolment_until = models.DateTimeField(_("re-enrolment allowed until"), null=True, editable=False)
    license_ref = models.CharField(_("licence"), max_length=128, blank=True, default="", db_default="", editable=False)

    objects = AgentQuerySet.as_manager()

    class Meta:
        verbose_name = _("machine")
        verbose_name_plural = _("machines")
        ordering = ["-enrolled_at", "-id"]
        indexes = [
            models.Index(fields=["-enrolled_at", "-id"], name="agent_newest"),
            models.Index(fields=["status", "-enrolled_at", "-id"], name="agent_status_newest"),
            # This operator class lets PostgreSQL use the index for prefix searches; other databases ignore it.
            models.Index(fields=["name"], name="agent_name", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["version"], name="agent_version", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["hostname"], name="agent_hostname", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["user_name"], name="agent_user_name", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["user_email"], name="agent_user_email", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["-id"], name="agent_without_name", condition=models.Q(owns_name=False)),
            models.Index(fields=["license_ref", "name"], name="agent_licence", condition=~models.Q(license_ref="")),
        ]
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=models.Q(owns_name=True), name="one_agent_per_name")
        ]
        permissions = [
            ("uninstall_agent", _("Can uninstall machines")),
            ("export_agent", _("Can export machines")),
        ]

    def __str__(self) -> str:
        return self.machine_id

    def is_called(self, machine_id: str) -> bool:
        """Compare with the machine's name, ignoring case."""
        return machine_id.lower() == self.machine_id.lower()

    @property
    def is_active(self) -> bool:
        return self.status == self.Status.ACTIVE

    def may_reenrol(self, now: datetime) -> bool:
        return self.reenrolment_until is not None and now <= self.reenrolment_until

    def liveness(self, now: datetime) -> str | None:
        """Return online, late or lost, or None for an uninstalled machine."""
        if not self.is_active:
            return None
        bounds = liveness_bounds(now)
        if self.last_seen_at >= bounds.online:
            return self.Liveness.ONLINE
        return self.Liveness.LATE if self.last_seen_at >= bounds.lost else self.Liveness.LOST


class EnrolmentRequest(models.Model):
    """A machine that an enrolment token may enrol only after an operator's approval: one row per machine and token."""

    machine_id = models.CharField(_("machine"), max_length=128)
    name = models.GeneratedField(
        expression=Lower("machine_id"), output_field=models.CharField(max_length=128), db_persist=True
    )
    token = models.ForeignKey(ApiToken, models.CASCADE, related_name="+", verbose_name=_("enrolment token"))
    address = models.CharField(_("address"), max_length=64)
    asked_at = models.DateTimeField(_("first requested"))
    last_asked_at = models.DateTimeField(_("last requested"))
    allowed_until = models.DateTimeField(_("enrolment allowed until"), null=True)

    objects = EnrolmentRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("enrolment request")
        verbose_name_plural = _("enrolment requests")
        ordering = ["-last_asked_at"]
        permissions = [("export_enrolmentrequest", _("Can export enrolment requests"))]
        constraints = [models.UniqueConstraint(fields=["name", "token"], name="one_request_per_machine_and_token")]
        indexes = [models.Index(fields=["last_asked_at"], name="request_last_asked")]

    def __str__(self) -> str:
        return self.machine_id

    def is_allowed(self, now: datetime) -> bool:
        return self.allowed_until is not None and now <= self.allowed_until


class MachineToken(models.Model):
    """The link between an agent token and its machine. It is here because `portal` does not know machines."""

    token = models.OneToOneField(ApiToken, models.CASCADE, primary_key=True, related_name="machine")
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="machine_tokens")

    class Meta:
        verbose_name = _("machine token")
        verbose_name_plural = _("machine tokens")

    def __str__(self) -> str:
        return str(self.token)
