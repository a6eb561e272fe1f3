"""Addresses outside the API: the page for feedback, and redirects from pages of the admin that have moved."""

from django.urls import path, re_path
from django.views.generic import RedirectView

from beta.feedback.page import FeedbackPage

urlpatterns = [
    path("feedback/<str:key>", FeedbackPage.as_view(), name="feedback-page"),
    # Messages that were sent before the beta was an app of its own link to these.
    re_path(
        r"admin/monitoring/(?P<page>beta(?:feedback|programme|snapshot)/.*)$",
        RedirectView.as_view(url="/admin/beta/%(page)s", permanent=True, query_string=True),
    ),
]
