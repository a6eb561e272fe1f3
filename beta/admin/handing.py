"""Handing a report on: a button for each format, for those who may export."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from beta.formats import FORMATS, answered
from beta.report.gather import Report
from portal import audit
from portal.admin.base import VigieModelAdmin


class HandsReportsOn(VigieModelAdmin):
    """The pages of what has a report."""

    def get_urls(self) -> list[Any]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}_report"
        return [path("<path:object_id>/report/<slug:form>/", wrap(self.report_view), name=name), *super().get_urls()]

    def report_for(self, request: HttpRequest, obj: Any) -> Report:
        """The report that is handed on."""
        raise NotImplementedError

    def told_of(self, obj: Any) -> dict[str, Any]:
        """What the record says of it beside its format."""
        return {}

    def formats(self, request: HttpRequest, obj: Any) -> list[tuple[str, Any]]:
        """Where each format is asked for, and what its button says: first those for people. None for those who may not
        export.
        """
        if not self.has_export_permission(request):
            return []
        return [(self.address("report", quote(obj.pk), form.name), form.title) for form in reversed(FORMATS.values())]

    def report_view(self, request: HttpRequest, object_id: str, form: str) -> HttpResponse:
        """The file, in the user's language."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, unquote(object_id))
        if obj is None or form not in FORMATS:
            raise Http404
        if request.method != "POST":
            return HttpResponseRedirect(self.address("change", quote(obj.pk)))
        answer = answered(self.report_for(request, obj), form)
        # Not before: a report that could not be made was handed to nobody.
        audit.record_event(
            "beta.exported", self.subject_of(obj), request=request, after={"format": form, **self.told_of(obj)}
        )
        return answer
