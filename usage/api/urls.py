from django.urls import path

from usage.api import runs
from usage.api.events import EventsView
from usage.api.export import ExportView
from usage.api.summary import SummaryView

urlpatterns = [
    path("report", runs.ReportView.as_view(), name="usage-report"),
    path("report/batch", runs.BatchView.as_view(), name="usage-report-batch"),
    path("events", EventsView.as_view(), name="usage-events"),
    path("export", ExportView.as_view(), name="usage-export"),
    path("summary", SummaryView.as_view(), name="usage-summary"),
]
