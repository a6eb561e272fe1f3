"""Retention of enrolment requests."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from agents.approval import KEPT_FOR
from agents.models import EnrolmentRequest
from portal.work.retention import Retention, retentions


def outdated_requests(now: datetime) -> QuerySet[EnrolmentRequest]:
    return EnrolmentRequest.objects.filter(last_asked_at__lt=now - KEPT_FOR)


retentions.register(Retention("enrolment_requests", outdated_requests))
