"""The API's documentation: its schema, a page to read it, and the list of error codes every problem points to."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.generic import TemplateView
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from portal.api.errors import CODES, CONTENT_TYPE, problem_response

PROBLEM = {
    "type": "object",
    "description": "RFC 9457; branch on `code`. `errors` comes with validation_failed.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(CODES)},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
    },
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "portal.authentication.BearerAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vigie_<kind>_<key>_<secret>_<crc>"}


def add_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Every call may refuse, in one shape: said once for all instead of at each view."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"]["default"] = {"description": "A refusal", "content": content}
    return result


class SchemaView(SpectacularAPIView):
    """OpenAPI 3."""


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files; its script stands in a request of its own, as the policy demands."""

    url_name = "schema"
    http_method_names = ["get", "head"]

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        """A problem as everywhere: the view's own renderer has a template for its page, and none for a refusal."""
        return problem_response(exc, self.request._request)


class ErrorCodesView(TemplateView):
    template_name = "portal/error_codes.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(codes=CODES, **kwargs)
