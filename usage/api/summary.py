"""`GET /api/v1/usage/summary`, also without a version: activity and errors of the last hours."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.views import ApiView, Kind
from usage.guardian.summary import build_summary

MIN_HOURS, MAX_HOURS, DEFAULT_HOURS = 1, 720, 2
DIGITS = re.compile(r"[0-9]{1,9}")


class HoursField(serializers.IntegerField):
    """Accept ASCII digits only: DRF also takes `2.0`, `1_0` and digits of other scripts."""

    def to_internal_value(self, data: Any) -> int:
        if not DIGITS.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class SummaryQuerySerializer(serializers.Serializer[None]):
    hours = HoursField(min_value=MIN_HOURS, max_value=MAX_HOURS, default=DEFAULT_HOURS)


class SummaryErrorSerializer(serializers.Serializer[None]):
    endpoint = serializers.CharField()
    error = serializers.CharField()
    timestamp = serializers.CharField(help_text="YYYY-MM-DD HH:MM:SS, UTC.")


class SummaryUserSerializer(serializers.Serializer[None]):
    email = serializers.CharField()
    total_time_minutes = serializers.IntegerField()
    features_used = serializers.ListField(child=serializers.CharField())
    requests_count = serializers.IntegerField()
    errors_count = serializers.IntegerField()
    # DRF takes a field out of the class, so that its own `errors` is not lost.
    errors = SummaryErrorSerializer(many=True, help_text="The newest 20.")  # type: ignore[assignment]


class FeatureSerializer(serializers.Serializer[None]):
    name = serializers.CharField()
    count = serializers.IntegerField()


class SummaryAnswer(serializers.Serializer[None]):
    """Documents the result of `usage.guardian.summary`."""

    period = serializers.CharField(help_text="YYYY-MM-DD HH:MM - HH:MM, UTC.")
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    hours = serializers.IntegerField()
    active_users = serializers.IntegerField()
    active_machines = serializers.IntegerField()
    active_apps = serializers.IntegerField()
    total_requests = serializers.IntegerField()
    total_errors = serializers.IntegerField()
    users = SummaryUserSerializer(many=True)
    top_features = FeatureSerializer(many=True)
    error_breakdown = serializers.DictField(child=serializers.IntegerField())
    sample_percent = serializers.IntegerField(required=False, help_text="Only where not all requests are kept.")


class SummaryView(ApiView):
    """Summarize activity and errors of the last hours, by person."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "usage.view_guardianreport"

    @extend_schema(parameters=[SummaryQuerySerializer], responses={200: SummaryAnswer})
    def get(self, request: Request) -> Response:
        # A plain dict: DRF treats a QueryDict as a form, in which an empty value counts as absent.
        query = SummaryQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        now = timezone.now()
        return Response(build_summary(now - timedelta(hours=query.validated_data["hours"]), now))
