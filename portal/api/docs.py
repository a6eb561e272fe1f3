"""The API's documentation: its schema, a page to read it, and the list of error codes every problem points to."""

from __future__ import annotations

from typing import Any

from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from portal.api.errors import CODES


class SchemaView(SpectacularAPIView):
    """OpenAPI 3."""


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files; its script stands in a request of its own, as the policy demands."""

    url_name = "schema"


class ErrorCodesView(TemplateView):
    template_name = "portal/error_codes.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(codes=CODES, **kwargs)
