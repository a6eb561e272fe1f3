"""Notifications: code that changes something people must know calls `notify` in the transaction of that change."""

from portal.base.findings import Severity
from portal.notifications.notices import Notice, State, in_portal_language
from portal.notifications.outbox import notify

__all__ = ["Notice", "Severity", "State", "in_portal_language", "notify"]
