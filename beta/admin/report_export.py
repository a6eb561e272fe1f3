"""Export of reports: a button for each format, for users with the permission to export."""

from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from beta.formats import FORMATS, report_response
from beta.report.gather import Report
from monitoring.admin.base import MonitoringAdmin
from portal import audit


class ReportExportAdmin(MonitoringAdmin):
    """Base of the admins whose rows have a report."""

    class Media:
        css = {"all": ("beta/beta.css",)}

    def get_urls(self) -> list[Any]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}_report"
        return [path("<path:object_id>/report/<slug:form>/", wrap(self.report_view), name=name), *super().get_urls()]

    def report_for(self, request: HttpRequest, obj: Any) -> Report:
        """Return the report to export."""
        raise NotImplementedError

    def audit_details(self, obj: Any) -> dict[str, Any]:
        """Return details for the audit event, beside the format."""
        return {}

    def format_buttons(self, request: HttpRequest, obj: Any) -> list[tuple[str, Any]]:
        """Return address and label of the button of each format, none without the permission to export."""
        if not self.has_export_permission(request):
            return []
        return [(self.address("report", quote(obj.pk), form.name), form.title) for form in reversed(FORMATS.values())]

    def report_view(self, request: HttpRequest, object_id: str, form: str) -> HttpResponse:
        """Send the file in the user's language."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, unquote(object_id))
        if obj is None or form not in FORMATS:
            raise Http404
        if request.method != "POST":
            return HttpResponseRedirect(self.address("change", quote(obj.pk)))
        answer = report_response(self.report_for(request, obj), form)
        # After rendering: a report that fails to render was not exported.
        audit.record_event(
            "beta.exported", self.subject_of(obj), request=request, after={"format": form, **self.audit_details(obj)}
        )
        return answer
