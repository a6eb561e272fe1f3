"""The table of off-site copies."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups import querysets


class OffsiteCopy(models.Model):
    """The copy of one stored version. Unless it is copied, it has been missing since `since`.

    - What failed: `error` is why the last attempt to copy, verify or remove it did. It is a word of `portal.egress.s3`,
      with the store's own word as `error_code`, or a word of LocalError. The next attempt is at `retry_at`.
    - Where it is: `place` and `key`.
    - What it holds, or will hold: `size`, `sha256`, and `digests`, those of its parts, joined.
    - How far a verification is: it has read back `read_parts` parts of the object with this `etag`.
    - What it replaced: `superseded` are the former objects that a lock keeps, as pairs of key and version.
    - When it was lost: it was found to be gone or changed at `lost_at`, which `loss` says. It is made again while the
      version is stored here.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        COPIED = "copied", _("copied")
        FAILED = "failed", _("failed")

    entry = models.OneToOneField(
        "backups.BackupEntry", models.CASCADE, related_name="offsite_copy", verbose_name=_("backup")
    )
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.PENDING)
    since = models.DateTimeField(default=timezone.now)
    retry_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=16, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    failed_since = models.DateTimeField(null=True)
    place = models.CharField(max_length=800, blank=True)
    key = models.CharField(max_length=1_500, blank=True)
    version = models.CharField(max_length=1_024, blank=True)
    size = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    digests = models.BinaryField(null=True)
    etag = models.CharField(max_length=128, blank=True)
    read_parts = models.PositiveSmallIntegerField(default=0, db_default=0)
    superseded = models.JSONField(default=list, db_default=[])
    copied_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)
    was_read_back = models.BooleanField(default=False)
    locked_until = models.DateTimeField(null=True)
    loss = models.CharField(max_length=16, blank=True)
    lost_at = models.DateTimeField(null=True)

    objects = querysets.OffsiteCopyQuerySet.as_manager()

    class Meta:
        verbose_name = _("off-site copy")
        verbose_name_plural = _("off-site copies")
        ordering = ["-id"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["state", "verified_at"], name="offsite_state_verified"),
            models.Index(fields=["lost_at"], name="offsite_lost", condition=models.Q(lost_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return str(self.entry)
