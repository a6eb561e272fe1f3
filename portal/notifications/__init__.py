"""Telling people: whoever changes something that matters calls `notify` in the transaction of that change."""

from portal.notifications.notices import Notice, State, in_our_language
from portal.notifications.outbox import notify
from portal.severity import Severity

__all__ = ["Notice", "Severity", "State", "in_our_language", "notify"]
