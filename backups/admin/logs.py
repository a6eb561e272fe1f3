"""The base of the read-only lists of entries and of restore drills, which grow without end and belong to jobs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from backups.admin import display
from backups.models import ExpectedBackupJob
from portal.admin.base import ReadOnlyAdmin
from portal.admin.searching import search_by
from portal.desk.matching import Search

SEARCHED = ("agent_id__fragment", "database_name__fragment")


class JobLogAdmin(ReadOnlyAdmin):
    """A list whose rows have a `job`, by whose machine and database they are searched."""

    class Media:
        css = {"all": ("backups/backups.css",)}

    list_display_links = (display.database,)
    lookups = ("job",)
    is_log = True
    search_fields = tuple(f"job__{field}" for field in SEARCHED)
    search_help_text = search_by(_("machine"), _("database"))

    def search(self, request: HttpRequest, queryset: QuerySet[Any], search: Search) -> QuerySet[Any]:
        return queryset.filter(job__in=search.matching_values(ExpectedBackupJob, SEARCHED))
