"""The page *People*: find, export and erase the data about one person or machine.

Every step is a POST, so that no URL and no log names the subject.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal import audit
from portal.base.encryption import encrypt
from portal.desk.exports import StreamedResponse, attachment_headers
from portal.desk.panels import Section
from portal.desk.site import Page, VigieAdminSite, only_for
from portal.privacy import Subject, erasing
from portal.privacy.exporting import export_chunks
from portal.privacy.overview import MAX_COUNTED, HeldData, overview
from portal.privacy.subjects import InvalidSubject, parse_subject, users_of
from portal.tasks import ERASE
from portal.work.queue import enqueue

FIND, ERASE_PERMISSION = "portal.find_person", "portal.erase_person"


class SubjectForm(forms.Form):
    """`given` is what was typed, `subject` whom it names."""

    given = forms.CharField(
        label=gettext_lazy("Person or machine"),
        max_length=300,
        help_text=gettext_lazy(
            "Enter a whole name: an e-mail address, user:NAME for a user without an e-mail address, "
            "participant:NAME for a beta participant, or a machine ID."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        try:
            self.subject: Subject = parse_subject(cleaned.get("given", ""))
        except InvalidSubject:
            if "given" in cleaned:
                self.add_error("given", _("Enter the whole name of a person or a machine."))
        return cleaned


class ErasureForm(SubjectForm):
    """Typed again, for what cannot be undone."""

    again = forms.CharField(
        label=gettext_lazy("Type it again to confirm"),
        max_length=300,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["given"].widget = forms.HiddenInput()

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if again.strip() != self.cleaned_data.get("given", "").strip():
            raise forms.ValidationError(_("This does not match the name above."))
        return again


# --- Steps -----------------------------------------------------------------------------------------------------------


def find_subject(request: HttpRequest) -> HttpResponseBase:
    form = SubjectForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        context |= held_context(form)
    return subject_page(request, "portal/people.html", context)


def export_subject(request: HttpRequest) -> HttpResponseBase:
    form = SubjectForm(request.POST or None)
    if not form.is_valid():
        return redirect_back()
    audit.record_event("privacy.exported", given_in(form)[:200], request=request)
    chunks = export_chunks(given_in(form), form.subject)
    return StreamedResponse(chunks, content_type="application/json", headers=attachment_headers("person", "json"))


def erase_subject(request: HttpRequest) -> HttpResponseBase:
    """Ask first, with what is found; then leave the work to a task, which reads every table."""
    if "again" not in request.POST:
        subject_form = SubjectForm(request.POST or None)
        if not subject_form.is_valid():
            return redirect_back()
        return ask_erasure(request, subject_form, ErasureForm(initial={"given": given_in(subject_form)}))
    form = ErasureForm(request.POST)
    if not form.is_valid():
        return ask_erasure(request, form, form) if hasattr(form, "subject") else redirect_back()
    try:
        refuse_accounts(request, form.subject)
        erasing.refuse_last_superuser(form.subject)
    except erasing.ErasureRefused as error:
        messages.error(request, str(error))
        return redirect_back()
    with transaction.atomic():
        # Not whom: what is erased is to stand nowhere afterwards.
        audit.record_event("privacy.erasure_asked", request=request)
        enqueue(ERASE, encrypt(given_in(form)), audit.request_actor(request), cluster="slow")
    text = _("Erasure started. The audit log shows when it is done and how many rows it changed.")
    messages.success(request, text)
    return redirect_back()


def ask_erasure(request: HttpRequest, given: SubjectForm, form: ErasureForm) -> HttpResponseBase:
    return subject_page(request, "portal/erase_person.html", {"form": form} | held_context(given))


def refuse_accounts(request: HttpRequest, subject: Subject) -> None:
    """Refuse one's own account, and those of others where only a superuser may change them."""
    accounts = users_of(subject)
    if accounts.filter(pk=request.user.pk).exists():
        raise erasing.ErasureRefused(_("This is your own account. Ask someone else to erase it."))
    if accounts.exists() and not request.user.is_superuser:
        raise erasing.ErasureRefused(_("This user has an account here. Only a superuser can erase it."))


def given_in(form: SubjectForm) -> str:
    return str(form.cleaned_data["given"]).strip() if form.is_bound and "given" in form.cleaned_data else ""


# --- Pages -----------------------------------------------------------------------------------------------------------


def held_context(form: SubjectForm) -> dict[str, Any]:
    """Return what both pages show of the subject."""
    held = overview(form.subject)
    remarks, is_found = erasing.collect_remarks(form.subject), any(data.count for data in held)
    return {"given": given_in(form), "section": held_section(held), "is_found": is_found, "remarks": remarks}


def held_section(held: list[HeldData]) -> Section:
    rows = [
        [
            capfirst(str(data.model._meta.app_config.verbose_name)),
            capfirst(str(data.model._meta.verbose_name_plural)),
            held_count(data),
            data.first if data.count < MAX_COUNTED else None,
            data.last,
        ]
        for data in held
    ]
    note = ""
    if not all(data.is_whole for data in held):
        note = _("“At least”: the table is long, so only part of it was counted. Export and erasure cover all of it.")
    return Section(
        title=_("Stored data"),
        columns=[_("App"), _("Data"), _("Rows"), _("First"), _("Last")],
        rows=rows,
        empty=_("No data about this name."),
        note=note,
    )


def held_count(held: HeldData) -> Any:
    return held.count if held.is_whole else _("at least %(count)d") % {"count": held.count}


def subject_page(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    own = {"title": _("People"), "may_erase": request.user.has_perm(ERASE_PERMISSION)}
    return TemplateResponse(request, template, admin.site.each_context(request) | own | context)


def redirect_back() -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:people"))


VigieAdminSite.pages.append(
    Page(
        app_label="portal",
        name=gettext_lazy("People"),
        url_name="people",
        permission=FIND,
        urls=lambda: [
            path("people/", only_for(FIND, find_subject), name="people"),
            path("people/export/", only_for(FIND, export_subject), name="people_export"),
            path("people/erase/", only_for(ERASE_PERMISSION, erase_subject), name="people_erase"),
        ],
    )
)
