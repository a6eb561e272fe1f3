"""Routes below `/api/v1/monitoring/`."""

from django.urls import path

from monitoring.api import views

urlpatterns = [
    path("targets", views.TargetsView.as_view(), name="monitoring-targets"),
    path("status", views.StatusView.as_view(), name="monitoring-status"),
    path("badges/<str:key>.svg", views.BadgeView.as_view(), name="monitoring-badge"),
]
