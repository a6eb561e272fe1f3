"""The page *Connect an application*: a guide for each way, with a token issued right there."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.access.tokens.issuing import issue_token
from portal.connect.guides import Guide, find_address, is_local, list_guides
from portal.desk.site import Page, VigieAdminSite, only_for
from portal.models import ApiToken

PERMISSION = "portal.add_apitoken"
URL_NAME = "connect"
# An application's token is in every installed copy, so it lasts longer. The form for tokens offers other periods.
LIFETIMES = {ApiToken.Kind.ENROLL: timedelta(days=30), ApiToken.Kind.CLIENT: timedelta(days=365)}


class LabelForm(forms.Form):
    label = forms.CharField(label=_("Description"), max_length=128)


def connect_view(request: HttpRequest) -> TemplateResponse:
    """Show one guide. A POST issues its token, shown once; `token` names one by its public key, to await its calls."""
    portal_url = find_address(request)
    guides = [guide for guide in list_guides(portal_url) if guide.kind in LIFETIMES]
    guide = next((each for each in guides if each.key == request.GET.get("guide")), guides[0])
    form = LabelForm(request.POST or None, initial={"label": guide.title})
    plain, token = "", None
    if form.is_valid():
        token, plain = issue_token(
            guide.kind,
            label=form.cleaned_data["label"],
            expires_at=timezone.now() + LIFETIMES[ApiToken.Kind(guide.kind)],
            request=request,
        )
    elif request.method != "POST":
        token = ApiToken.objects.filter(key=request.GET.get("token", "")[:32], kind=guide.kind).first()
    context: dict[str, Any] = {
        "title": _("Connect an application"),
        "guides": [{"title": each.title, "url": guide_url(each), "is_chosen": each == guide} for each in guides],
        "guide": guide,
        "form": form,
        "token": token,
        "save_token": guide.save_token(plain) if plain else "",
        "live_url": guide_url(guide, token) if token else "",
        "local_url": portal_url if is_local(portal_url) else "",
    }
    return TemplateResponse(request, "portal/connect.html", admin.site.each_context(request) | context)


def guide_url(guide: Guide, token: ApiToken | None = None) -> str:
    """Return the page of a guide, which shows whether a call with the token has arrived."""
    return reverse(f"admin:{URL_NAME}", query={"guide": guide.key} | ({"token": token.key} if token else {}))


VigieAdminSite.pages.append(
    Page(
        app_label="portal",
        name=_("Connect an application"),
        url_name=URL_NAME,
        permission=PERMISSION,
        urls=lambda: [path("connect/", only_for(PERMISSION, connect_view), name=URL_NAME)],
    )
)
