"""`GET /api/v1/beta/report`: the live report of a programme in the requested format."""

import codecs

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from beta import programmes
from beta.api.feedback import find_or_refuse
from beta.formats import FORMATS, report_response
from beta.report.snapshots import current_report
from portal import audit
from portal.api.views import ApiView, Kind
from portal.base.problems import invalid_field
from portal.notifications import in_portal_language

EXPECTED = f"{', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]} is expected."
ANSWERS = {
    (200, form.content_type.partition(";")[0]): OpenApiResponse(
        OpenApiTypes.OBJECT if name == "json" else OpenApiTypes.BINARY, f"The report as {name}"
    )
    for name, form in FORMATS.items()
}


class ReportView(ApiView):
    """The report from live data. `format` alone decides the form of the answer. No snapshot is stored."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "beta.export_betaprogramme"
    refusals = ("programme_unknown",)

    @extend_schema(
        parameters=[
            OpenApiParameter("programme", str, description="Its name. Default: the only one that runs."),
            OpenApiParameter("format", str, enum=list(FORMATS), default="json"),
        ],
        responses=ANSWERS,
    )
    def get(self, request: Request) -> HttpResponse:
        form = request.query_params.get("format", "json")
        if form not in FORMATS:
            raise invalid_field("format", "invalid_choice", EXPECTED)
        programme = find_or_refuse(programmes.find_by_name, request.query_params.get("programme", ""))
        report = current_report(programme, timezone.now())
        with in_portal_language():
            answer = report_response(report, form)
        audit.record_event("beta.exported", programme.subject, request=request._request, after={"format": form})
        return adapt_for_programs(answer, form)


def adapt_for_programs(answer: HttpResponse, form: str) -> HttpResponse:
    """Send JSON inline, and CSV without the byte order mark, which programs do not expect."""
    if form == "json":
        del answer.headers["Content-Disposition"]
    answer.content = answer.content.removeprefix(codecs.BOM_UTF8)
    return answer
