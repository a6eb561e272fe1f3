"""The ground floor's tables: tokens, failed authentications, audit, jobs, who is alive, and messages to operators."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from portal import querysets
from portal.access.models import GuessWindow as GuessWindow
from portal.access.models import Preferences as Preferences
from portal.access.models import SecondFactorGrace as SecondFactorGrace
from portal.access.tokens import credential
from portal.base.findings import Severity
from portal.base.words import format_moment
from portal.desk.models import FindingAcknowledgement as FindingAcknowledgement
from portal.work.names import describe_work


class ApiToken(models.Model):
    """An API caller's credential. Only a hash of the secret is stored: see `portal.access.tokens.credential`."""

    class Kind(models.TextChoices):
        ENROLL = "enroll", _("enrolment")
        AGENT = "agent", _("machine")
        CLIENT = "client", _("application")
        STAFF = "staff", _("staff")

    class Scope(models.TextChoices):
        UNINSTALL = "uninstall", _("can uninstall machines")

    kind = models.CharField(_("type"), max_length=8, choices=Kind.choices)
    label = models.CharField(_("description"), max_length=128, blank=True)
    key = models.CharField(_("public key"), max_length=credential.KEY_LENGTH, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    scopes = models.JSONField(_("permissions"), default=list, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        verbose_name=_("user"),
        related_name="api_tokens",
    )
    created_at = models.DateTimeField(_("issued"), editable=False)
    created_by = models.CharField(_("issued by"), max_length=160, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    revoked_reason = models.CharField(_("reason"), max_length=32, blank=True, editable=False)
    # An enrolment token may be bound to one machine, an application's token to some app_names. Empty means any.
    for_machine = models.CharField(_("machine"), max_length=128, blank=True, default="", db_default="")
    app_names: Any = models.JSONField(_("applications"), default=list, db_default=[], blank=True)
    max_uses = models.PositiveIntegerField(_("max uses"), null=True, blank=True)
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    objects = querysets.ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        permissions = [("export_apitoken", _("Can export tokens"))]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["kind", "-id"], name="token_kind"),
            # This operator class lets PostgreSQL find a beginning by the index; other databases ignore it.
            models.Index(fields=["label"], name="token_label", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["expires_at"], name="token_expires", condition=models.Q(expires_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}"

    @property
    def name(self) -> str:
        """Return the label that people gave it."""
        return self.label or self.key

    @property
    def bearer(self) -> str:
        """Return the actor behind a token without a user: `agent:PC-LYON-07`, `client:gui_v6`."""
        return f"{self.kind}:{self.name}"

    @property
    def is_exhausted(self) -> bool:
        return self.max_uses is not None and self.uses >= self.max_uses

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def allows(self, scope: str) -> bool:
        return scope in self.scopes

    @property
    def binding(self) -> str:
        """The machine or the applications that it is bound to, or nothing."""
        return self.for_machine or ", ".join(self.app_names)

    def is_for_machine(self, machine_id: str) -> bool:
        """Return True if this enrolment token is bound to the machine. Names are compared without case."""
        return self.for_machine.lower() == machine_id.lower()

    def is_for_app(self, app_name: str) -> bool:
        return not self.app_names or app_name in self.app_names


class CountingWindow(models.Model):
    """A rate limit's count, within a window that begins at the first event."""

    window_started_at = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        abstract = True


class AuthFailure(CountingWindow):
    """Failed authentications of one address in a row, within a minute that begins with the first."""

    address = models.CharField(max_length=64, unique=True)

    class Meta:
        verbose_name = _("failed authentications")
        verbose_name_plural = _("failed authentications")

    def __str__(self) -> str:
        return f"{self.address}: {self.count}"


class AuditEvent(models.Model):
    """An entry of the audit trail: who did what to what, when and where. Written by `portal.audit`, never changed."""

    at = models.DateTimeField(_("time"))
    actor = models.CharField(_("actor"), max_length=160)
    action = models.CharField(_("event"), max_length=64)
    subject = models.CharField(_("object"), max_length=200, blank=True)
    before: Any = models.JSONField(_("before"), null=True)
    after: Any = models.JSONField(_("after"), null=True)
    address = models.CharField(_("IP address"), max_length=64, blank=True)
    count = models.PositiveIntegerField(_("count"), default=1)
    last_at = models.DateTimeField(_("last time"))
    dedupe_key = models.CharField(max_length=64, null=True, unique=True, editable=False)

    objects = querysets.AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit log entry")
        verbose_name_plural = _("audit log")
        permissions = [
            ("export_auditevent", _("Can export the audit log")),
            ("find_person", _("Can find and export all data about a person")),
            ("erase_person", _("Can erase all data about a person")),
        ]
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["subject", "-id"], name="audit_subject", opclasses=["varchar_pattern_ops", "int8_ops"]
            ),
            models.Index(fields=["action", "-id"], name="audit_action", opclasses=["varchar_pattern_ops", "int8_ops"]),
            models.Index(fields=["at"], name="audit_at"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()


class JobRun(models.Model):
    """One cycle of one periodic job, held under a lease, so that it has one effect however often it is started.

    `fence` grows with each claim: a holder that lost its lease finds its number outdated and must not write.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("pending")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    job = models.CharField(_("job"), max_length=64)
    cycle_key = models.CharField(_("cycle"), max_length=64)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    fence = models.PositiveIntegerField(_("attempts"), default=0)
    lease_expires_at = models.DateTimeField(_("locked until"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    holder = models.CharField(_("worker"), max_length=128, blank=True)
    result = models.JSONField(_("result"), null=True)
    error = models.CharField(_("error"), max_length=500, blank=True)

    objects = querysets.JobRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("job run")
        verbose_name_plural = _("job runs")
        permissions = [("export_jobrun", _("Can export job runs"))]
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["job", "cycle_key"], name="one_run_per_job_and_cycle")]
        indexes = [models.Index(fields=["status"], name="jobrun_status")]

    def __str__(self) -> str:
        return f"{describe_work(self.job)} {format_moment(self.started_at) if self.started_at else self.cycle_key}"


class TaskAttempt(models.Model):
    """A queued task as the workers met it: counted when it starts, so that one that kills its worker is given up.

    `worker` is the process that runs it (see `portal.work.processes`), empty once that process was found dead;
    `queue_id` is its row in django-q2's queue.
    """

    MOST_ATTEMPTS = 3

    task_id = models.CharField(_("task"), max_length=32, unique=True)
    name = models.CharField(_("name"), max_length=128)
    cluster = models.CharField(_("cluster"), max_length=16)
    queue_id = models.BigIntegerField(null=True, editable=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    worker = models.CharField(_("worker"), max_length=128, blank=True)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    error = models.CharField(_("error"), max_length=500, blank=True)

    objects = querysets.TaskAttemptQuerySet.as_manager()

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = [("export_taskattempt", _("Can export tasks"))]
        ordering = ["-id"]
        indexes = [models.Index(fields=["cluster", "finished_at"], name="attempt_finished")]

    def __str__(self) -> str:
        return f"{describe_work(self.name)} {format_moment(self.started_at)}"


class Heartbeat(models.Model):
    """When a part of the portal last showed that it works: a cluster, the pulse, the watch, or a node (`node:…`).

    `asked_at` is when one was last asked for, so that those who ask do so once between them. `unbroken_since` is when
    it last came back after a silence.
    """

    component = models.CharField(_("component"), max_length=16, unique=True)
    at = models.DateTimeField(_("last heartbeat"), null=True)
    asked_at = models.DateTimeField(null=True, editable=False)
    unbroken_since = models.DateTimeField(null=True, editable=False)
    where = models.CharField(_("worker"), max_length=128, blank=True)

    objects = querysets.HeartbeatQuerySet.as_manager()

    class Meta:
        db_table = "portal_beat"
        verbose_name = _("component")
        verbose_name_plural = _("components")
        permissions = [("diagnose_system", _("Can view and check the status of the system"))]

    def __str__(self) -> str:
        return self.component


class NotificationChannel(models.Model):
    """A way to reach people. One with an `environment_key` is configured by settings: `notifications.configuration`."""

    class Kind(models.TextChoices):
        EMAIL = "email", _("e-mail")
        TELEGRAM = "telegram", _("Telegram")
        WEBHOOK = "webhook", _("webhook")
        APPRISE = "apprise", _("Apprise")

    class Threshold(models.IntegerChoices):
        CRITICAL = Severity.CRITICAL, _("critical only")
        WARNING = Severity.WARNING, _("critical and warnings")
        INFO = Severity.INFO, _("all notifications")

    name = models.CharField(_("name"), max_length=80, unique=True)
    kind = models.CharField(_("type"), max_length=8, choices=Kind.choices)
    is_active = models.BooleanField(_("enabled"), default=True)
    min_severity = models.PositiveSmallIntegerField(
        _("notify about"), choices=Threshold.choices, default=Threshold.INFO
    )
    # E-mail addresses, a chat, or the address of a webhook: one a line, and no secret.
    addresses = models.TextField(_("recipients"), blank=True)
    # Encrypted: a bot's token, a webhook's key, or a whole Apprise URL.
    secret = models.TextField(blank=True, editable=False)
    environment_key = models.CharField(max_length=16, unique=True, null=True, blank=True, editable=False)

    objects = querysets.NotificationChannelQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification channel")
        verbose_name_plural = _("notification channels")
        permissions = [("export_notificationchannel", _("Can export notification channels"))]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        return self.environment_key or f"channel:{self.pk}"


class ChannelState(models.Model):
    """A channel's delivery lease and health. `channel` is its key, `moved` maps chats to their new ids.

    The delivering process `holder` has a lease with a fencing token. `digest` is an HMAC of the channel's settings:
    when it changes, a disabled channel is enabled again.
    """

    channel = models.CharField(max_length=32, unique=True)
    lease_expires_at = models.DateTimeField(null=True)
    holder = models.CharField(max_length=128, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    asked_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    moved: Any = models.JSONField(default=dict)

    objects = querysets.ChannelStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("state of a channel")
        verbose_name_plural = _("states of channels")

    def __str__(self) -> str:
        return self.channel


class OutboxMessage(models.Model):
    """A message to one recipient by one channel. Written by `notify`, delivered at least once, in order per subject."""

    class State(models.TextChoices):
        OPENED = "opened", _("opened")
        CLOSED = "closed", _("closed")
        NOTE = "note", _("note")

    class Status(models.TextChoices):
        WAITING = "waiting", _("pending")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        GIVEN_UP = "given_up", _("discarded")

    channel = models.CharField(_("channel"), max_length=32)
    recipient = models.CharField(_("recipient"), max_length=254)
    subject = models.CharField(_("subject"), max_length=200)
    severity = models.PositiveSmallIntegerField(_("severity"), choices=Severity.choices)
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.NOTE)
    title = models.CharField(_("title"), max_length=300)
    text = models.TextField(_("text"), blank=True)
    # The same for readers of mail, where it is laid out; forgotten once it is sent.
    html = models.TextField(blank=True, editable=False)
    path = models.CharField(_("link"), max_length=500, blank=True)
    dedupe_key = models.CharField(_("deduplication key"), max_length=200)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    created_at = models.DateTimeField(_("created"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    error = models.CharField(_("error"), max_length=500, blank=True)

    objects = querysets.OutboxMessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        permissions = [("export_outboxmessage", _("Can export messages"))]
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["dedupe_key", "channel", "recipient"], name="told_once_per_recipient")
        ]
        indexes = [
            models.Index(fields=["channel", "id"], name="outbox_waiting", condition=models.Q(status="waiting")),
            models.Index(fields=["status", "-id"], name="outbox_status"),
            models.Index(fields=["severity", "-id"], name="outbox_severity"),
            models.Index(
                fields=["subject", "-id"], name="outbox_subject", opclasses=["varchar_pattern_ops", "int8_ops"]
            ),
            models.Index(
                fields=["recipient", "-id"], name="outbox_recipient", opclasses=["varchar_pattern_ops", "int8_ops"]
            ),
            models.Index(fields=["created_at"], name="outbox_created"),
            models.Index(fields=["finished_at"], name="outbox_finished"),
        ]

    def __str__(self) -> str:
        return self.title
