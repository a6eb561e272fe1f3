from django.urls import path

from usage.api import views

urlpatterns = [
    path("report", views.ReportView.as_view(), name="usage-report"),
    path("report/batch", views.BatchView.as_view(), name="usage-report-batch"),
]
