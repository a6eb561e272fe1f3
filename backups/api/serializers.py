"""Serializers of the calls of `/api/v1/backups/`."""

from rest_framework import serializers
from vigie_client.contract import MACHINE_ID

from backups.models import BackupEntry, Status
from portal.api.fields import LineField


class DepositAnswer(serializers.Serializer[None]):
    status = serializers.ChoiceField(["stored"])
    name = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


# As text, not as choices: three fields share the statuses, and an enumeration would get a name for each.
STATUSES = f"One of {', '.join(Status.values)}."


class JobsQuerySerializer(serializers.Serializer[None]):
    agent_id = LineField(required=False, allow_blank=True, max_length=128, pattern=MACHINE_ID)
    status = serializers.ChoiceField(Status.choices, required=False, allow_blank=True)
    database = LineField(required=False, allow_blank=True, max_length=128)


class JobSerializer(serializers.Serializer[None]):
    """Document `views.serialize_job`."""

    id = serializers.IntegerField()
    agent_id = serializers.CharField()
    database_name = serializers.CharField()
    current_status = serializers.CharField(help_text=STATUSES)
    protected = serializers.BooleanField()
    expected_at = serializers.DateTimeField(allow_null=True)
    schedule = serializers.CharField(allow_null=True)
    time_zone = serializers.CharField(allow_null=True)
    last_checked_at = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    last_verified_at = serializers.DateTimeField(allow_null=True)
    proven = serializers.BooleanField(help_text="The last restore drill restored the backup.")
    proven_at = serializers.DateTimeField(allow_null=True)
    is_active = serializers.BooleanField()
    paused_until = serializers.DateTimeField(allow_null=True)


class JobsAnswer(serializers.Serializer[None]):
    results = JobSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class EntrySerializer(serializers.Serializer[None]):
    """Document `views.serialize_entry`."""

    id = serializers.IntegerField()
    cycle_at = serializers.DateTimeField()
    status = serializers.CharField(help_text=STATUSES)
    first_status = serializers.CharField(help_text=STATUSES)
    late = serializers.BooleanField()
    message = serializers.CharField()
    warnings = serializers.ListField(child=serializers.CharField())
    agent_sha256 = serializers.CharField(allow_null=True)
    agent_size = serializers.IntegerField(allow_null=True)
    server_sha256 = serializers.CharField(allow_null=True)
    server_size = serializers.IntegerField(allow_null=True)
    report_name = serializers.CharField(allow_null=True)
    promotion = serializers.ChoiceField(BackupEntry.Promotion.choices)


class EntriesAnswer(serializers.Serializer[None]):
    results = EntrySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ScanSerializer(serializers.Serializer[None]):
    agent_id = LineField(required=False, allow_null=True, max_length=128, pattern=MACHINE_ID)


class ScanAnswer(serializers.Serializer[None]):
    status = serializers.ChoiceField(["queued"])
