from django.urls import path

from agents.api import views

urlpatterns = [
    path("enroll", views.EnrollView.as_view(), name="agent-enroll"),
    path("uninstall", views.UninstallView.as_view(), name="agent-uninstall"),
    path("fleet", views.FleetView.as_view(), name="agent-fleet"),
    path("heartbeat", views.HeartbeatView.as_view(), name="agent-heartbeat"),
    path("token/rotate", views.RotateView.as_view(), name="agent-token-rotate"),
    path("<str:machine_id>", views.AgentView.as_view(), name="agent-detail"),
]
