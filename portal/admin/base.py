"""Base classes of the admin: lists for huge tables, audited changes and actions, exports."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import DateTimeField, ManyToManyField, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from portal import audit
from portal.admin.changelist import BoundedChangeList, CappedPaginator, is_valid_value
from portal.admin.changes import Values, changed_values
from portal.admin.confirm import is_confirmed
from portal.admin.exporting import Exporting
from portal.admin.searching import Searching
from portal.admin.until import MomentField, MomentInput
from portal.desk.links import link_for, may_open
from portal.desk.panels import Section

# Django's scripts for slugs and for pop-ups of related rows, which no page has, and the jQuery that only they need.
UNUSED_SCRIPTS = ("jquery", "xregexp", "urlify", "prepopulate", "RelatedObjectLookups")
# Django's own text, in its catalogue.
SELECT_ROW = "Select this object for an action - {}"
CHECKBOX = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'

Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponseBase | None]


class GuardedAdmin(Searching):
    """The base class of every ModelAdmin: permission before lookup, and an audit event for each change and action.

    `lookups` are the list parameters in addition to those of its filters, used by links of the portal. Django would
    accept any lookup on any column: expensive ones, and on columns that no page shows.

    `purpose` says on an empty list what it is for and how rows get there. `empty_link` is the button below it where
    the list has no *Add*: the name of a page, and the button's text. `menu_order` is the place in the menu, and
    `menu_group = "system"` moves it from the app's group to the last one.
    """

    lookups: ClassVar[Sequence[str]] = ()
    formfield_overrides = {
        DateTimeField: {"form_class": MomentField, "widget": MomentInput},
        ManyToManyField: {"widget": forms.CheckboxSelectMultiple(attrs={"class": "choices"})},
    }
    # Fields whose values the audit log does not keep; those of password inputs are never kept.
    secret_fields: ClassVar[Sequence[str]] = ()
    # The beginning of the names of audit events, by default the model's name.
    audit_name: ClassVar[str] = ""
    purpose: ClassVar[Any] = ""
    menu_group: ClassVar[str] = ""
    menu_order: ClassVar[int] = 90
    empty_link: ClassVar[tuple[str, Any] | None] = None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"purpose": self.purpose, "empty_link": link_for(request, self.empty_link)}
        return super().changelist_view(request, context | (extra_context or {}))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the list may be filtered so; Django answers 400 where not."""
        filters = {getattr(filter_class, "parameter_name", "") for filter_class in self.list_filter}
        return lookup in filters or lookup in self.lookups

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Return whether a popup may refer to rows by this field: only by the primary key."""
        return to_field == self.opts.pk.attname

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Leave out the links that open pop-ups of related rows."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def render_page(self, request: HttpRequest, template: str, title: Any, **context: Any) -> TemplateResponse:
        """Return a page of this model beside Django's own, in the frame of the admin."""
        frame = {"title": title, "opts": self.opts, **self.admin_site.each_context(request)}
        return TemplateResponse(request, template, frame | context)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Look a row up only for users who may view the model: nobody else learns which rows exist."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().get_object(request, object_id, from_field)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Leave out rows of join tables, which have no names. Rows deleted along with others are only counted."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        models = apps.get_models(include_auto_created=True)
        joins = {model._meta.verbose_name_plural for model in models if model._meta.auto_created}
        rows = [row for row in deleted if not isinstance(row, list)]
        return rows, {name: count for name, count in counts.items() if name not in joins}, lacking, protected

    # --- Audit -------------------------------------------------------------------------------------------------------

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Keep the old and new values for the event, which Django logs without the form."""
        request.changed_values = changed_values(form, self.secret_fields, add)  # type: ignore[attr-defined]
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self.note(request, "added", obj, *getattr(request, "changed_values", ()))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Record a change. A form that changed nothing leaves no event."""
        before, after = getattr(request, "changed_values", ({}, {}))
        if after:
            self.note(request, "changed", obj, before, after)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            name = str(obj)
            is_named = self.subject_of(obj).partition(":")[2] == name.lstrip("#")
            self.note(request, "deleted", obj, None, None if is_named else {"name": name})
        return super().log_deletions(request, queryset)

    def note(self, request: HttpRequest, what: str, obj: Model, before: Values | None, after: Values | None) -> None:
        """Record that a row was added, changed or deleted, with the values of its fields; secrets are left out."""
        action = f"{self.audit_name or self.opts.model_name}.{what}"
        audit.record_event(action, self.subject_of(obj), request=request, before=before or None, after=after or None)

    def title_of(self, obj: Any) -> str:
        """Return the row's name as the title of its page."""
        return str(obj)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        context["object_title"] = self.title_of(obj) if obj is not None else ""
        return super().render_change_form(request, context, *args, **kwargs)

    def subject_of(self, obj: Model) -> str:
        """Return the row's subject in the audit trail."""
        return f"{self.audit_name or self.opts.model_name}:{obj}"[:200]

    def with_sort_keys(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Add to the rows of a list what it may be sorted by besides columns, which a row's own page does not need."""
        return rows

    def get_sortable_by(self, request: HttpRequest) -> list[Any]:
        """Return the columns themselves: Django finds one made by `moment_column` by the function, not by its name."""
        columns = self.get_list_display(request)
        if self.sortable_by is None:
            return list(columns)
        return [column for column in columns if getattr(column, "__name__", column) in self.sortable_by]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """Refuse keys that no row can have: the query would fail. Confirmed rows are found without the list's filters,
        from which a row may have gone meanwhile.
        """
        if not all(is_valid_value(self.opts.pk, key) for key in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest
        if is_confirmed(request):
            return super().response_action(request, self.get_queryset(request))
        return super().response_action(request, *args, **kwargs)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        return {name: (audit_action(func), name, text) for name, (func, _name, text) in actions.items()}


def audit_action(action: Action) -> Action:
    """Wrap an action to run in a transaction and leave an audit event.

    An action that returns a page has only asked. One that records events of its own gets no other, nor does one that
    sets `request.needs_no_event`: it was refused, or records its events after the transaction.
    """

    @functools.wraps(action)
    def acting(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        with transaction.atomic():
            earlier = audit.recorded_events(request)
            response = action(model_admin, request, queryset)
            is_done = not (isinstance(response, TemplateResponse) or getattr(request, "needs_no_event", False))
            if is_done and audit.recorded_events(request) == earlier:
                label, name = queryset.model._meta.label_lower, getattr(action, "__name__", "")
                after = {"action": name, "chosen": chosen_keys(request)}
                audit.record_event("admin.action", label, request=request, after=after)
        return response

    return acting


def chosen_keys(request: HttpRequest) -> list[str] | str:
    return "all" if request.POST.get("select_across") == "1" else request.POST.getlist(ACTION_CHECKBOX_NAME)[:100]


@dataclass(frozen=True)
class Button:
    """An action offered on the page of one thing."""

    url: str
    text: Any
    dangerous: bool


class VigieModelAdmin(GuardedAdmin, Exporting):
    """A list that stays fast at ten million rows, its export, and actions on a row's own page.

    `object_actions` are buttons on a row's page; `can_act` says whether one applies to the row.
    """

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 200
    change_list_template = "portal/list.html"
    change_form_template = "portal/object.html"
    add_label: ClassVar[Any] = _("Add")
    actions: Sequence[Any] = ("export_chosen", "export_chosen_xlsx")
    object_actions: ClassVar[Sequence[str]] = ()

    @property
    def media(self) -> Any:
        """Return the scripts and styles of the pages, without 80 KB of scripts that none of them uses."""
        media: Any = super().media
        used = [script for script in media._js if not any(name in str(script) for name in UNUSED_SCRIPTS)]
        return forms.Media(css=media._css, js=used)

    def get_urls(self) -> list[Any]:
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        act = path("<path:object_id>/act/<slug:action>/", wrap(self.act_view), name=f"{name}_act")
        return [*self.export_urls(), act, *super().get_urls()]

    def action_checkbox(self, obj: Any) -> SafeString:
        """Return what Django does, without a template for each row."""
        label = format_html(translate(SELECT_ROW), obj)
        return format_html(CHECKBOX, ACTION_CHECKBOX_NAME, obj.pk, label)

    def address(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=args)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            "add_label": self.add_label,
            "export_url": self.address("export") if self.has_export_permission(request) else "",
            "exports_fields": bool(self.export_columns),
            # Django would write a number here that is a cap or an estimate where the list is long.
            "selection_note_all": _("All selected"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    # --- The page of one row -----------------------------------------------------------------------------------------

    def get_sections(self, request: HttpRequest, obj: Any) -> list[Section]:
        """Tables below the facts; one that leads to a list is for those who may see that list."""
        return []

    def can_act(self, obj: Any, action: str) -> bool:
        return True

    def buttons(self, request: HttpRequest, obj: Any) -> list[Button]:
        allowed = self.get_actions(request)
        return [
            Button(self.address("act", quote(obj.pk), name), text, getattr(func, "dangerous", False))
            for func, name, text in (allowed[name] for name in self.object_actions if name in allowed)
            if self.can_act(obj, name)
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        context |= {"show_save_and_continue": False, "show_save_and_add_another": False}
        if obj is not None:
            sections = [section for section in self.get_sections(request, obj) if may_open(request, section.url)]
            context |= {"sections": sections, "buttons": self.buttons(request, obj)}
        return super().render_change_form(request, context, *args, **kwargs)

    def act_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponseBase:
        """An action on one row, from its own page and back to it."""
        actions = self.get_actions(request)
        if action not in self.object_actions or action not in actions:
            raise PermissionDenied
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404
        back = HttpResponseRedirect(self.address("change", quote(obj.pk)))
        if request.method != "POST" or not self.can_act(obj, action):
            return back
        act: Action = actions[action][0]
        return act(self, request, self.get_queryset(request).filter(pk=obj.pk)) or back


class SettingsAdmin(VigieModelAdmin):
    """Rows of which people write the settings and the portal the rest. Whoever saved one stays on its page."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Only what was changed by hand: the portal may have written the rest since the form was read."""
        if change:
            columns = {field.name for field in self.opts.concrete_fields}
            obj.save(update_fields=columns.intersection(form.changed_data))
        else:
            super().save_model(request, obj, form, change)

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(self.address("change", obj.pk))

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(self.address("change", obj.pk))


class ReadOnlyAdmin(VigieModelAdmin):
    """Rows that the portal writes: nobody adds, changes or deletes one by hand.

    The page of one row shows `facts`, which are fields, methods or callables, and below them those with a title.
    Actions that act on rows ask for `permissions=["manage"]`, which is Django's change permission.
    """

    facts: ClassVar[Sequence[Any]] = ()
    titled_facts: ClassVar[Sequence[tuple[Any, Sequence[Any]]]] = ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        groups = [(None, self.facts), *self.titled_facts]
        return [(title, {"fields": fields}) for title, fields in groups if fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*self.facts, *chain.from_iterable(fields for _title, fields in self.titled_facts)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))
