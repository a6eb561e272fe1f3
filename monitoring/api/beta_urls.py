"""Addresses below `/api/v1/beta/`."""

from django.urls import path

from monitoring.api import beta, beta_report

urlpatterns = [
    path("feedback", beta.FeedbackView.as_view(), name="beta-feedback"),
    path("report", beta_report.ReportView.as_view(), name="beta-report"),
]
