"""Calls that are also available below `/api/usage/`, without a version. The schema lists them once."""

from django.urls import path

from usage.api.summary import SummaryView

urlpatterns = [path("summary", SummaryView.as_view(schema=None), name="usage-summary")]
