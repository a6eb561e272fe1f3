"""The programme of a target, chosen on the target's own page."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from beta.models import BetaProgramme, ProgrammeTarget
from beta.programmes import assign_target, programme_of_target
from monitoring.admin.form import TargetForm
from monitoring.admin.targets import TargetAdmin
from monitoring.models import Target
from portal.base.words import EMPTY_VALUE

FIELD = "beta_programme"


class TargetWithProgrammeForm(TargetForm):
    beta_programme = forms.ModelChoiceField(BetaProgramme.objects.all(), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial[FIELD] = programme_of_target(self.instance)


@admin.display(description=_("beta programme"))
def linked_programme(target: Target) -> SafeString | str:
    programme = programme_of_target(target)
    if programme is None:
        return EMPTY_VALUE
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:beta_betaprogramme_change", args=[programme.pk]), programme
    )


class TargetWithProgrammeAdmin(TargetAdmin):
    form = TargetWithProgrammeForm
    lookups = (*TargetAdmin.lookups, FIELD)
    export_columns: ClassVar[Sequence[str]] = (*TargetAdmin.export_columns, f"{FIELD}__name")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_editable = obj is None or self.has_change_permission(request, obj)
        shown = FIELD if is_editable else linked_programme
        return [*super().get_fieldsets(request, obj), (_("Beta programme"), {"fields": (shown,)})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Use the widget of the foreign key."""
        form = super().get_form(request, obj, change, **kwargs)
        field: Any = self.formfield_for_dbfield(
            ProgrammeTarget._meta.get_field("programme"),
            request,
            required=False,
            help_text=_("Its checks count towards the programme’s release criteria."),
        )
        form.base_fields[FIELD] = field
        return form

    def copied_settings(self, target: Target) -> dict[str, Any]:
        return super().copied_settings(target) | {FIELD: programme_of_target(target)}

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if FIELD in form.changed_data:
            assign_target(form.instance, form.cleaned_data[FIELD])


# Replaces the admin of `monitoring`, which must not import this app.
admin.site.unregister(Target)
admin.site.register(Target, TargetWithProgrammeAdmin)
