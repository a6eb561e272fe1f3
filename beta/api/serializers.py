"""Schema of the feedback call, for its documentation; `beta.feedback.reading` checks the fields."""

from rest_framework import serializers
from vigie_client import contract

from beta.feedback import intake
from beta.models import BEST_SCORE, BetaFeedback


class FeedbackSerializer(serializers.Serializer[None]):
    id = serializers.UUIDField()
    programme = serializers.CharField(max_length=100, allow_null=True, required=False)
    participant = serializers.CharField(max_length=contract.MAX_PARTICIPANT)
    type = serializers.ChoiceField(BetaFeedback.Type.choices, allow_null=True, required=False)
    severity = serializers.ChoiceField(BetaFeedback.Severity.choices, allow_blank=True, allow_null=True, required=False)
    nps_score = serializers.IntegerField(min_value=0, max_value=BEST_SCORE, allow_null=True, required=False)
    comment = serializers.CharField(max_length=contract.MAX_COMMENT, allow_blank=True, allow_null=True, required=False)
    page = serializers.CharField(max_length=contract.MAX_PAGE, allow_blank=True, allow_null=True, required=False)
    app_version = serializers.CharField(
        max_length=contract.MAX_VERSION, allow_blank=True, allow_null=True, required=False
    )
    given_at = serializers.DateTimeField(allow_null=True, required=False)
    sent_at = serializers.DateTimeField(allow_null=True, required=False)


class FeedbackAnswer(serializers.Serializer[None]):
    status = serializers.ChoiceField([intake.RECORDED, intake.DUPLICATE])
    id = serializers.CharField()
