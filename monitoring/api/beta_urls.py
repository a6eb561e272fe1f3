"""Addresses below `/api/v1/beta/`."""

from django.urls import path

from monitoring.api import beta

urlpatterns = [
    path("feedback", beta.FeedbackView.as_view(), name="beta-feedback"),
]
