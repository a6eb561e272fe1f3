from django.urls import path

from usage.api import views
from usage.api.events import EventsView

urlpatterns = [
    path("report", views.ReportView.as_view(), name="usage-report"),
    path("report/batch", views.BatchView.as_view(), name="usage-report-batch"),
    path("events", EventsView.as_view(), name="usage-events"),
]
