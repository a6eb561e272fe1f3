"""`POST /api/v1/usage/events`: sessions, uses of features and errors of an application's users."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from vigie_client.contract import MAX_EVENTS_IN_CALL, MAX_INTEGER

from portal.api.fields import ItemsField
from portal.api.views import HotView, Kind
from portal.models import ApiToken
from usage.api.serializers import ITEM_STATUSES
from usage.ingestion import events
from usage.ingestion.runs import CONFLICT

CODE_BY_STATUS = {CONFLICT: "event_conflict", events.INVALID: "validation_failed"}


class SessionEventSerializer(serializers.Serializer[None]):
    id = serializers.UUIDField()
    user_email = serializers.CharField(max_length=254)
    session_start = serializers.DateTimeField()
    session_end = serializers.DateTimeField(allow_null=True, required=False)
    user_agent = serializers.CharField(allow_null=True, required=False)


class FeatureEventSerializer(serializers.Serializer[None]):
    id = serializers.UUIDField()
    user_email = serializers.CharField(max_length=254)
    feature_name = serializers.CharField(max_length=128)
    endpoint = serializers.CharField(allow_null=True, required=False)
    timestamp = serializers.DateTimeField()
    success = serializers.BooleanField()
    duration_ms = serializers.IntegerField(allow_null=True, required=False, min_value=0, max_value=MAX_INTEGER)


class ErrorEventSerializer(serializers.Serializer[None]):
    id = serializers.UUIDField()
    user_email = serializers.CharField(max_length=254)
    endpoint = serializers.CharField(allow_null=True, required=False)
    method = serializers.CharField(allow_null=True, required=False)
    error_type = serializers.CharField(max_length=128)
    error_code = serializers.IntegerField(allow_null=True, required=False, min_value=0, max_value=MAX_INTEGER)
    timestamp = serializers.DateTimeField()


class EventsSerializer(serializers.Serializer[None]):
    sessions = ItemsField(SessionEventSerializer, MAX_EVENTS_IN_CALL, required=False, allow_null=True)
    features = ItemsField(FeatureEventSerializer, MAX_EVENTS_IN_CALL, required=False, allow_null=True)
    errors = ItemsField(ErrorEventSerializer, MAX_EVENTS_IN_CALL, required=False, allow_null=True)  # type: ignore[assignment]  # a field, not what was wrong
    sent_at = serializers.DateTimeField(allow_null=True, required=False)


class EventResult(serializers.Serializer[None]):
    id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(ITEM_STATUSES)
    code = serializers.CharField(allow_null=True)


class EventResults(serializers.Serializer[None]):
    sessions = EventResult(many=True)
    features = EventResult(many=True)
    errors = EventResult(many=True)  # type: ignore[assignment]


class EventsAnswer(serializers.Serializer[None]):
    results = EventResults()
    dropped_keys = serializers.IntegerField()


class EventsView(HotView):
    """Record up to 500 events. Each gets a status of its own; the results are in the order sent."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})

    @extend_schema(request=EventsSerializer, responses={200: EventsAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        items, dropped = events.read_events(body, token.bearer)
        statuses = events.record_events(items)
        results = {name: list(map(format_event_result, items[name], statuses[name])) for name in items}
        return 200, {"results": results, "dropped_keys": dropped}


def format_event_result(item: events.EventItem, status: str) -> dict[str, Any]:
    return {"id": item.id, "status": status, "code": CODE_BY_STATUS.get(status)}
