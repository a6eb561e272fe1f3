"""Severity of findings and messages."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Severity(models.IntegerChoices):
    CRITICAL = 1, _("critical")
    WARNING = 2, _("warning")
    INFO = 3, _("for information")
