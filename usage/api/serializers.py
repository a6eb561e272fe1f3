"""Documents what the calls of `/api/v1/usage/` take and answer; `usage.report` does the checking."""

from rest_framework import serializers

ITEM_STATUSES = ["recorded", "duplicate", "conflict", "invalid"]


class DocumentSerializer(serializers.Serializer[None]):
    ordinal = serializers.IntegerField(allow_null=True, required=False, min_value=0, max_value=2**31 - 1)
    page_count = serializers.IntegerField(allow_null=True, required=False, min_value=0, max_value=2**31 - 1)
    status = serializers.ChoiceField(["success", "failed"], allow_null=True, required=False)
    duration_ms = serializers.IntegerField(allow_null=True, required=False, min_value=0, max_value=2**31 - 1)
    extension = serializers.CharField(allow_null=True, required=False)


class RunSerializer(serializers.Serializer[None]):
    run_id = serializers.UUIDField()
    license_ref = serializers.CharField(max_length=128, allow_null=True, required=False)
    machine_id = serializers.CharField(max_length=128, allow_null=True, required=False)
    app_name = serializers.CharField(max_length=128)
    app_version = serializers.CharField(max_length=128)
    document_count = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    succeeded_count = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    failed_count = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    total_pages = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    documents = DocumentSerializer(many=True)
    documents_omitted = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    started_at = serializers.DateTimeField(allow_null=True, required=False)
    sent_at = serializers.DateTimeField(allow_null=True, required=False)


class BatchSerializer(serializers.Serializer[None]):
    runs = RunSerializer(many=True)


class ReportAnswer(serializers.Serializer[None]):
    status = serializers.ChoiceField(["recorded", "duplicate"])
    run_id = serializers.CharField()
    received_at = serializers.DateTimeField()
    dropped_keys = serializers.IntegerField()
    over_quota = serializers.BooleanField()


class BatchResult(serializers.Serializer[None]):
    run_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(ITEM_STATUSES)
    code = serializers.CharField(allow_null=True)


class BatchAnswer(serializers.Serializer[None]):
    results = BatchResult(many=True)
    recorded = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    invalid = serializers.IntegerField()
