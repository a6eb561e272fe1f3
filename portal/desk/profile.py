"""A user's own profile: name, language and time zone; and the checklist of first steps, hidden or shown again."""

import zoneinfo
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from portal import audit
from portal.access.preferences import load_preferences, save_preferences

# The regions of the time zone database; names outside of them are old names of the same zones.
REGIONS = {
    "Africa": gettext_lazy("Africa"),
    "America": gettext_lazy("America"),
    "Antarctica": gettext_lazy("Antarctica"),
    "Arctic": gettext_lazy("Arctic"),
    "Asia": gettext_lazy("Asia"),
    "Atlantic": gettext_lazy("Atlantic Ocean"),
    "Australia": gettext_lazy("Australia"),
    "Europe": gettext_lazy("Europe"),
    "Indian": gettext_lazy("Indian Ocean"),
    "Pacific": gettext_lazy("Pacific Ocean"),
}


def zone_choices(present: str) -> list[tuple[str, Any]]:
    """Return the portal's zone, the reader's present one, UTC, and all others by region and place.

    Within its region a zone is named by its place, so that typing `par` in the list finds Paris.
    """
    portals = _("The portal’s (%(zone)s)") % {"zone": settings.TIME_ZONE}
    first = dict.fromkeys(name for name in (present, "UTC") if name)
    regions: dict[str, list[tuple[str, str]]] = {region: [] for region in REGIONS}
    for name in sorted(zoneinfo.available_timezones() - first.keys()):
        region, _slash, place = name.partition("/")
        if place and region in regions:
            regions[region].append((name, place.replace("_", " ")))
    groups = [(str(REGIONS[region]), zones) for region, zones in regions.items()]
    return [("", portals), *((name, name.replace("_", " ")) for name in first), *groups]


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        required=False,
        help_text=gettext_lazy("Times are shown and entered in it."),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)

    class Meta:
        model = User
        fields = ("first_name", "last_name")
        labels = {"first_name": gettext_lazy("First name"), "last_name": gettext_lazy("Last name")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone, language = self.fields["time_zone"], self.fields["language"]
        zone.choices = zone_choices(self.initial.get("time_zone", ""))  # type: ignore[attr-defined]
        zone.widget.attrs["data-browser-zone"] = _("Use this device’s:")
        language.choices = [("", _("The browser’s")), *settings.LANGUAGES]  # type: ignore[attr-defined]


def save_names(form: ProfileForm, request: HttpRequest) -> None:
    """Save and record the changed names alone: an administrator may have changed the rest since the row was read."""
    names = [name for name in form.changed_data if name in ProfileForm.Meta.fields]
    if names:
        before = {name: form.initial[name] for name in names}
        after = {name: form.cleaned_data[name] for name in names}
        with transaction.atomic():
            form.instance.save(update_fields=names)
            audit.record_event(
                "user.changed", audit.user_subject(form.instance), request=request, before=before, after=after
            )


def profile_view(request: HttpRequest) -> HttpResponse:
    kept = load_preferences(request)
    initial = {"time_zone": kept.time_zone, "language": kept.language}
    form = ProfileForm(request.POST or None, instance=request.user, initial=initial)
    if form.is_valid():
        save_names(form, request)
        zone, language = form.cleaned_data["time_zone"], form.cleaned_data["language"]
        save_preferences(request, time_zone=zone, language=language)
        messages.success(request, _("Your profile is saved."))
        response = redirect("admin:profile")
        # The choice that this browser made before would come first.
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
        return response
    context = {**admin.site.each_context(request), "title": _("Your profile"), "form": form, "preferences": kept}
    return TemplateResponse(request, "portal/profile.html", context)


@require_POST
def checklist_view(request: HttpRequest) -> HttpResponse:
    """Hide the checklist, or show it again."""
    save_preferences(request, has_dismissed_checklist=request.POST.get("action") == "dismiss")
    return redirect("admin:index")
