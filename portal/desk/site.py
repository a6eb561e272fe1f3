"""The admin site and its landing page: findings first, then tiles, then the menu."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from allauth.account import views as account_views
from allauth.account.utils import get_next_redirect_url
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import Resolver404, path, resolve, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.base.findings import Finding
from portal.desk.findings import current_findings
from portal.desk.panels import current_tiles
from portal.desk.search import search_view

# Schedules and queues are declared in code: a row edited by hand would be overwritten, or stop them all. Factors and
# sessions are their users' own.
HIDDEN_APPS = frozenset({"django_q", "account", "mfa", "usersessions", "socialaccount"})
LAST_APPS = ("portal", "auth")


@dataclass(frozen=True)
class Page:
    """A page of the admin without a model: its place in the menu and its permission."""

    app_label: str
    name: Any
    url_name: str
    permission: str
    urls: Callable[[], list[Any]]


class VigieAdminSite(AdminSite):
    pages: ClassVar[list[Page]] = []
    site_header = site_title = "Vigie"
    index_title = _("Overview")
    index_template = "portal/index.html"
    site_url = None
    empty_value_display = "–"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        models: list[Any] = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        visible = [model for model in models if model._meta.app_label not in HIDDEN_APPS]
        super().register(visible, admin_class, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the menu: the operators' apps first, the portal's own last."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            own = [page for page in self.pages if page.app_label == app["app_label"]]
            app["models"] += [menu_entry(page) for page in own if request.user.has_perm(page.permission)]
        return sorted(apps, key=lambda app: app["app_label"] in LAST_APPS)

    def get_urls(self) -> list[Any]:
        """Leave out Django's redirect to a row's own page: no model has one, and it looks before it asks who may."""
        own = [url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site"]
        search = path("search/", self.admin_view(search_view), name="search")
        return [search, *(url for page in self.pages for url in page.urls()), *own]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the sign-in page. Whoever is signed in and came back lacks the permission to see the admin."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied
        target = get_next_redirect_url(request) or reverse("admin:index", current_app=self.name)
        return redirect_to_login(target)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_logout") if request.method == "GET" else account_views.logout(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_change_password")

    password_change_done = password_change

    def autocomplete_view(self, request: HttpRequest) -> NoReturn:
        """Refuse: no form of the portal uses autocompletion, and the view would list data."""
        raise PermissionDenied

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        now = timezone.now()
        context = {
            "findings": findings_for(request, now),
            "tiles": [tile for tile in current_tiles(now) if may_open(request, tile.url)],
        }
        return super().index(request, context | (extra_context or {}))


def menu_entry(page: Page) -> dict[str, Any]:
    """Return the entry that Django's menu template expects of a model."""
    url = reverse(f"admin:{page.url_name}")
    return {"name": page.name, "object_name": page.url_name, "admin_url": url, "add_url": None, "perms": {}}


def findings_for(request: HttpRequest, now: datetime) -> list[Finding]:
    """Return the findings that the user may see, without the buttons that they may not use."""
    return [
        replace(finding, url="") if finding.permission and not request.user.has_perm(finding.permission) else finding
        for finding in current_findings(now)
        if may_open(request, finding.url)
    ]


def may_open(request: HttpRequest, url: str) -> bool:
    """Return whether the user may see the model whose page the url leads to: its figures are not for others either."""
    return all(model_admin.has_view_or_change_permission(request) for model_admin in admins_behind(url))


def admins_behind(url: str) -> list[Any]:
    """Return the ModelAdmin whose page the url leads to, if there is one."""
    try:
        route = resolve(urlsplit(url).path).route
    except Resolver404:
        return []
    return [
        model_admin
        for model, model_admin in admin.site._registry.items()
        if route.startswith(f"admin/{model._meta.app_label}/{model._meta.model_name}/")
    ]


@dataclass(frozen=True)
class Link:
    url: str
    text: Any


def link_for(request: HttpRequest, target: tuple[str, Any] | None) -> Link | None:
    """Return the link to a page `(name, text)` of the admin, or None for users who may not open it."""
    if target is None:
        return None
    url = reverse(target[0])
    may_add = not url.endswith("/add/") or all(each.has_add_permission(request) for each in admins_behind(url))
    return Link(url, target[1]) if may_add and may_open(request, url) else None
