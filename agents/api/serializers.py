"""What the calls of `/api/v1/agents/` take and answer."""

from typing import Any

from rest_framework import serializers
from vigie_client.contract import MACHINE_ID

from agents.models import Agent
from portal.api.fields import LineField, StrictBooleanField


class OptionalLine(LineField):
    def __init__(self, max_length: int, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, allow_blank=True, max_length=max_length, **kwargs)


class HeartbeatSerializer(serializers.Serializer[None]):
    version = OptionalLine(64)
    os_info = OptionalLine(255)


class EnrollSerializer(HeartbeatSerializer):
    machine_id = LineField(max_length=128, pattern=MACHINE_ID)
    user_name = OptionalLine(200)
    user_email = OptionalLine(254)
    user_id = OptionalLine(128)
    hostname = OptionalLine(255)
    allow_reactivate = StrictBooleanField(default=True)
    enrollment_id = OptionalLine(128)


class UninstallSerializer(serializers.Serializer[None]):
    machine_id = LineField(max_length=128, pattern=MACHINE_ID)
    reason = OptionalLine(255)


class FleetQuerySerializer(serializers.Serializer[None]):
    status = serializers.ChoiceField(Agent.Status.choices, required=False)
    version = LineField(required=False, allow_blank=True, max_length=64)
    search = LineField(required=False, allow_blank=True, max_length=200)


class AgentSerializer(serializers.Serializer[None]):
    """Documents what `agents.fleet.describe` gives."""

    machine_id = serializers.CharField()
    user_name = serializers.CharField()
    user_email = serializers.CharField()
    user_id = serializers.CharField()
    hostname = serializers.CharField()
    os_info = serializers.CharField()
    version = serializers.CharField()
    status = serializers.ChoiceField(Agent.Status.choices)
    enrolled_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    uninstalled_at = serializers.DateTimeField(allow_null=True)
    uninstall_reason = serializers.CharField(allow_null=True)
    liveness = serializers.ChoiceField(Agent.Liveness.choices, allow_null=True)


class AgentAnswer(serializers.Serializer[None]):
    agent = AgentSerializer()


class EnrollAnswer(AgentAnswer):
    status = serializers.ChoiceField(["enrolled", "reactivated", "replayed"])
    machine_id = serializers.CharField()
    api_token = serializers.CharField()


class UninstallAnswer(AgentAnswer):
    status = serializers.ChoiceField(["uninstalled"])
    machine_id = serializers.CharField()


class TotalsSerializer(serializers.Serializer[None]):
    active = serializers.IntegerField()
    uninstalled = serializers.IntegerField()
    online = serializers.IntegerField()
    late = serializers.IntegerField()
    lost = serializers.IntegerField()


class FleetAnswer(serializers.Serializer[None]):
    active = AgentSerializer(many=True)
    uninstalled = AgentSerializer(many=True)
    totals = TotalsSerializer()
    next = serializers.CharField(allow_null=True)


class HeartbeatAnswer(serializers.Serializer[None]):
    status = serializers.ChoiceField(["ok"])
    server_time = serializers.DateTimeField()
    next_heartbeat_seconds = serializers.IntegerField()


class RotateAnswer(serializers.Serializer[None]):
    api_token = serializers.CharField()
    previous_valid_until = serializers.DateTimeField()
