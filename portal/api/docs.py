"""Pages of the API's documentation: its schema, a page to read it, and the error codes that problems point to."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import translation
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

from portal.base.problems import CODES, invalid_field

# By language and type.
RENDERED: dict[tuple[str | None, str], tuple[str | bytes, dict[str, str]]] = {}


class SchemaView(SpectacularAPIView):
    """OpenAPI 3."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse languages that there are none of: Django remembers the translations of each for ever."""
        super().initial(request, *args, **kwargs)
        languages = dict(settings.LANGUAGES)
        if request.query_params.get("lang", settings.LANGUAGE_CODE) not in languages:
            raise invalid_field("lang", "invalid_choice", f"One of {', '.join(languages)} is expected.")

    def _get_version_parameter(self, request: Request) -> None:
        """Ignore the query's `version`: there is one."""

    def _get_schema_response(self, request: Request) -> HttpResponse:
        """Keep each rendered schema for the life of the process: one takes 100 ms of CPU, and anybody may ask."""
        renderer = request.accepted_renderer
        key = (translation.get_language(), renderer.media_type)
        if key not in RENDERED:
            made = super()._get_schema_response(request)  # type: ignore[no-untyped-call]
            content = renderer.render(made.data, renderer.media_type, {})
            charset = f"; charset={renderer.charset}" if renderer.charset else ""
            headers = {"Content-Disposition": made.headers["Content-Disposition"]}
            RENDERED[key] = (content, {"Content-Type": renderer.media_type + charset} | headers)
        content, headers = RENDERED[key]
        return HttpResponse(content, headers=headers)


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files; its script stands in a request of its own, as the policy demands."""

    url_name = "schema"
    http_method_names = ["get", "head"]


class ErrorCodesView(TemplateView):
    template_name = "portal/error_codes.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(codes=CODES, **kwargs)
