"""Every address of the portal."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from portal.api.docs import DocsView, ErrorCodesView, SchemaView
from portal.connect.files import client_file
from portal.status import health

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("accounts/", include("portal.access.urls")),
    path("", include("beta.urls")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="docs"),
    path("client/<str:name>", client_file, name="client-file"),
    path("docs/api", ErrorCodesView.as_view(), name="error-codes"),
    path("api/v1/agents/", include("agents.api.urls")),
    path("api/v1/usage/", include("usage.api.urls")),
    path("api/usage/", include("usage.api.unversioned_urls")),
    path("api/v1/backups/", include("backups.api.urls")),
    path("api/v1/monitoring/", include("monitoring.api.urls")),
    path("api/v1/beta/", include("beta.api.urls")),
]
handler400 = "portal.api.errors.handler400"
handler404 = "portal.api.errors.handler404"
handler500 = "portal.api.errors.handler500"
