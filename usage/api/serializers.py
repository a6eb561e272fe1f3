"""Documents the runs in requests and responses of `/api/v1/usage/`; `usage.ingestion.run_payload` validates them."""

from functools import partial

from rest_framework import serializers
from vigie_client import contract
from vigie_client.contract import MAX_DOCUMENTS, MAX_INTEGER, MAX_RUNS_IN_BATCH, STATUSES

from portal.api.fields import ItemsField, LineField

ITEM_STATUSES = ["recorded", "duplicate", "conflict", "invalid"]


WholeNumber = partial(serializers.IntegerField, min_value=0, max_value=MAX_INTEGER)
IdentifierField = partial(LineField, pattern=contract.IDENTIFIER)
UniqueIdField = partial(LineField, pattern=contract.UUID, trim_whitespace=False)
# Takes any value; an unknown one is stored as `other`.
AnythingField = partial(serializers.JSONField, required=False)


class DocumentSerializer(serializers.Serializer[None]):
    ordinal = WholeNumber(allow_null=True, required=False)
    page_count = WholeNumber(allow_null=True, required=False)
    status = AnythingField(help_text=f"{' or '.join(STATUSES)}; anything else is kept as other")
    duration_ms = WholeNumber(allow_null=True, required=False)
    extension = AnythingField(help_text="Such as pdf, with or without a dot; anything else is kept as other")


class RunSerializer(serializers.Serializer[None]):
    run_id = UniqueIdField()
    license_ref = IdentifierField(allow_null=True, required=False)
    machine_id = IdentifierField(allow_null=True, required=False)
    app_name = IdentifierField()
    app_version = IdentifierField()
    document_count = WholeNumber()
    succeeded_count = WholeNumber()
    failed_count = WholeNumber()
    total_pages = WholeNumber()
    documents = serializers.ListField(child=DocumentSerializer(), max_length=MAX_DOCUMENTS)
    documents_omitted = WholeNumber(allow_null=True, required=False)
    started_at = serializers.DateTimeField(allow_null=True, required=False)
    sent_at = serializers.DateTimeField(allow_null=True, required=False)


class BatchSerializer(serializers.Serializer[None]):
    runs = ItemsField(RunSerializer, MAX_RUNS_IN_BATCH)


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
