"""Activity: sessions, feature uses and errors. Routes and names only, never content.

`user_email` is a person's e-mail address (the username of a portal user without one), `agent:<machine_id>`,
`client:<label>`, `enroll:<label>`, or empty for an unauthenticated caller. `source` is `portal` for the portal's own
requests, else the token that reported them; `event_id` is then chosen by the sender, for idempotent retries.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.base.words import format_moment
from usage.clocks import clock_field
from usage.querysets import EventQuerySet, SessionQuerySet

PORTAL = "portal"
# No user name and no e-mail address holds a colon.
PEOPLE = ~models.Q(user_email="") & ~models.Q(user_email__contains=":")
PREFIX_THEN_ID = ["varchar_pattern_ops", "int8_ops"]


class Activity(models.Model):
    """Base of sessions, features and errors. `clock` is the change made to the times that an application sent."""

    event_id = models.UUIDField(_("event"), null=True, unique=True, editable=False)
    user_email = models.CharField(_("caller"), max_length=254, blank=True)
    source = models.CharField(_("source"), max_length=160, default=PORTAL)
    clock = clock_field()

    objects: ClassVar[Any] = EventQuerySet.as_manager()

    class Meta:
        abstract = True


class UserSession(Activity):
    """A session from login to logout. `session_end` stays null without a logout.

    `ip` is cut to the network (/24 or /48), and `user_agent` to the names of browser and system.
    """

    session_start = models.DateTimeField(_("started"))
    session_end = models.DateTimeField(_("ended"), null=True)
    duration_seconds = models.PositiveIntegerField(_("duration"), null=True)
    ip = models.CharField(_("network"), max_length=64, blank=True)
    user_agent = models.CharField(_("browser"), max_length=64, blank=True)

    objects: ClassVar[Any] = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        permissions = [("export_usersession", _("Can export sessions"))]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user_email", "-id"], name="session_user", opclasses=PREFIX_THEN_ID),
            models.Index(fields=["session_start"], name="session_start"),
            models.Index(fields=["session_end"], name="session_end"),
            models.Index(fields=["user_email"], name="session_open", condition=models.Q(session_end__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.user_email} {format_moment(self.session_start)}"


class FeatureUsage(Activity):
    """One request, or one use of a feature of a client application. `endpoint` is a route, never a path."""

    feature_name = models.CharField(_("feature"), max_length=128)
    endpoint = models.CharField(_("endpoint"), max_length=200, blank=True)
    timestamp = models.DateTimeField(_("time"))
    success = models.BooleanField(_("succeeded"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True)

    class Meta:
        verbose_name = _("feature use")
        verbose_name_plural = _("feature uses")
        permissions = [("export_featureusage", _("Can export feature uses"))]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["timestamp"], name="feature_timestamp"),
            models.Index(fields=["user_email", "-id"], name="feature_user", opclasses=PREFIX_THEN_ID),
            models.Index(fields=["feature_name", "-id"], name="feature_name", opclasses=PREFIX_THEN_ID),
            models.Index(fields=["-id"], name="feature_failed", condition=models.Q(success=False)),
        ]

    def __str__(self) -> str:
        return f"{self.feature_name} {self.user_email}".strip()


class UserError(Activity):
    """A failed request or operation. `error_code` is an HTTP status, if there is one.

    `error_message` is the sentence of a stable code. `stack` is a list of `module:function:line`, innermost last.
    Neither contains values.
    """

    endpoint = models.CharField(_("endpoint"), max_length=200, blank=True)
    method = models.CharField(_("method"), max_length=16, blank=True)
    error_type = models.CharField(_("error"), max_length=128)
    error_code = models.PositiveIntegerField(_("code"), null=True)
    error_message = models.CharField(_("explanation"), max_length=300, blank=True)
    stack: Any = models.JSONField(_("stack trace"), default=list)
    timestamp = models.DateTimeField(_("time"))

    class Meta:
        verbose_name = _("error")
        verbose_name_plural = _("errors")
        permissions = [("export_usererror", _("Can export errors"))]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["timestamp"], name="error_timestamp"),
            models.Index(fields=["user_email", "-id"], name="error_user", opclasses=PREFIX_THEN_ID),
        ]

    def __str__(self) -> str:
        return f"{self.error_type} {self.endpoint}"


class TrackingWriter(models.Model):
    """The tracking buffer of a process: records queued at the last write, and dropped since its start.

    Rows without dropped records are deleted when their process is gone. The others stay, since their sum is a counter.
    """

    process = models.CharField(max_length=128, unique=True)
    queued = models.PositiveIntegerField(_("waiting"), default=0)
    dropped = models.PositiveBigIntegerField(_("dropped"), default=0)
    dropped_at = models.DateTimeField(_("last dropped"), null=True)
    seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("tracking writer")
        verbose_name_plural = _("tracking writers")
        default_permissions = ()

    def __str__(self) -> str:
        return self.process
