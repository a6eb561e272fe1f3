"""Addresses below `/feedback/`."""

from django.urls import path

from monitoring.beta.page import FeedbackPage

urlpatterns = [
    path("<str:key>", FeedbackPage.as_view(), name="feedback-page"),
]
