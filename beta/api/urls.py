"""Addresses below `/api/v1/beta/`."""

from django.urls import path

from beta.api import feedback, report

urlpatterns = [
    path("feedback", feedback.FeedbackView.as_view(), name="beta-feedback"),
    path("report", report.ReportView.as_view(), name="beta-report"),
]
