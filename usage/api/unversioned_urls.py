"""What is answered below `/api/usage/` as well, without a version. The schema names it once."""

from django.urls import path

from usage.api.summary import SummaryView

urlpatterns = [path("summary", SummaryView.as_view(schema=None), name="usage-summary")]
