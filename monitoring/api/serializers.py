"""Query parameters and answers of `/api/v1/monitoring/`."""

from rest_framework import serializers

from monitoring.models import Incident, Target

PAUSED = "paused"
# A paused target keeps its last state, but is reported as paused.
STATES = [*Target.State.values, PAUSED]
OVERALL = ["up", "degraded", "down", "unknown"]


class TargetsQuerySerializer(serializers.Serializer[None]):
    state = serializers.ChoiceField(STATES, required=False, allow_blank=True)


class TargetSerializer(serializers.Serializer[None]):
    """Documents the answer of `views.serialize_target`."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    url = serializers.CharField()
    interval = serializers.IntegerField(help_text="Seconds.")
    state = serializers.ChoiceField(STATES)
    uptime_24h = serializers.FloatField(allow_null=True, help_text="From 0 to 1; 1 only where nothing failed.")
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)
    last_check_at = serializers.DateTimeField(allow_null=True)


class TargetsAnswer(serializers.Serializer[None]):
    results = TargetSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class TargetCountsSerializer(serializers.Serializer[None]):
    up = serializers.IntegerField()
    down = serializers.IntegerField()
    paused = serializers.IntegerField()
    unknown = serializers.IntegerField()


class OpenIncidentSerializer(serializers.Serializer[None]):
    id = serializers.IntegerField()
    target = serializers.CharField()
    rule = serializers.ChoiceField(Incident.Rule.choices)
    opened_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)


class LastRoundSerializer(serializers.Serializer[None]):
    at = serializers.DateTimeField()
    checks = serializers.IntegerField()
    failures = serializers.IntegerField()
    error_rate = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)


class StatusAnswer(serializers.Serializer[None]):
    state = serializers.ChoiceField(OVERALL)
    targets = TargetCountsSerializer()
    open_incidents = OpenIncidentSerializer(many=True)
    open_incidents_total = serializers.IntegerField()
    last_round = LastRoundSerializer(allow_null=True)
