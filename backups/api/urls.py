from django.urls import path

from backups.api import views

urlpatterns = [
    path("deposits/<str:area>/<str:name>", views.DepositView.as_view(), name="backup-deposit"),
    path("jobs", views.JobsView.as_view(), name="backup-jobs"),
    path("jobs/<int:job_id>/entries", views.EntriesView.as_view(), name="backup-entries"),
    path("scan", views.ScanView.as_view(), name="backup-scan"),
]
