"""The API's documentation: its schema, a page to read it, and the list of error codes every problem points to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.views.generic import TemplateView
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

from portal.api.errors import CODES, CONTENT_TYPE, invalid

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

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse languages that there are none of: Django remembers the translations of each for ever."""
        super().initial(request, *args, **kwargs)
        languages = dict(settings.LANGUAGES)
        if request.query_params.get("lang", settings.LANGUAGE_CODE) not in languages:
            raise invalid("lang", "invalid_choice", f"One of {', '.join(languages)} is expected.")


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files; its script stands in a request of its own, as the policy demands."""

    url_name = "schema"
    http_method_names = ["get", "head"]


class ErrorCodesView(TemplateView):
    template_name = "portal/error_codes.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(codes=CODES, **kwargs)
