"""Requests and responses of `/api/v1/agents/`."""

from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty
from vigie_client.contract import DESCRIPTION, MACHINE_ID, NEVER_CUT, reduce_description

from agents.models import Agent
from portal.api.fields import LineField, StrictBooleanField


class OptionalLine(LineField):
    def __init__(self, max_length: int, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, allow_blank=True, max_length=max_length, **kwargs)


class DescriptiveLine(OptionalLine):
    """A machine's description of itself. It is repaired where needed and never refused.

    Invalid characters are removed, and long texts cut. A text with a token is left out, and so is a long text of the
    fields in NEVER_CUT: a cut address may be somebody else's.
    """

    is_reduced = True

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(self.reduced(data) if isinstance(data, str) else data)

    def reduced(self, data: str) -> str | None:
        return reduce_description(data, self.max_length or 0, may_cut=self.field_name not in NEVER_CUT)


class HeartbeatSerializer(serializers.Serializer[None]):
    version = DescriptiveLine(DESCRIPTION["version"])
    os_info = DescriptiveLine(DESCRIPTION["os_info"])
    hostname = DescriptiveLine(DESCRIPTION["hostname"])


class MachineIdField(LineField):
    """Required unless the token is the machine's own."""

    def __init__(self) -> None:
        super().__init__(max_length=128, pattern=MACHINE_ID, required=False, allow_null=True)


class EnrollSerializer(HeartbeatSerializer):
    machine_id = MachineIdField()
    user_name = DescriptiveLine(DESCRIPTION["user_name"])
    user_email = DescriptiveLine(DESCRIPTION["user_email"])
    user_id = DescriptiveLine(DESCRIPTION["user_id"])
    allow_reactivate = StrictBooleanField(default=True)
    enrollment_id = OptionalLine(128)


class UninstallSerializer(serializers.Serializer[None]):
    machine_id = MachineIdField()
    reason = DescriptiveLine(255)


class FleetQuerySerializer(serializers.Serializer[None]):
    status = serializers.ChoiceField(Agent.Status.choices, required=False, allow_blank=True)
    version = LineField(required=False, allow_blank=True, max_length=64)
    search = LineField(required=False, allow_blank=True, max_length=200)


class AgentSerializer(serializers.Serializer[None]):
    """Documents what `agents.api.representation.describe_agent` gives."""

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
    machine_id = serializers.CharField()
    api_token = serializers.CharField()
    previous_valid_until = serializers.DateTimeField()
