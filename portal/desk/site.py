"""The admin site: its menu, and the landing page with findings first, then tiles."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from allauth.account import views as account_views
from allauth.account.utils import get_next_redirect_url
from django.apps import apps as apps_registry
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal import __version__
from portal.access.preferences import load_preferences
from portal.base.findings import Finding
from portal.base.polling import is_poll
from portal.base.words import readers_zone
from portal.desk import live, profile
from portal.desk.acknowledging import acknowledge_view, add_acknowledgements
from portal.desk.checklist import load_checklist
from portal.desk.findings import recent_findings
from portal.desk.links import may_open, may_use
from portal.desk.panels import current_tiles
from portal.desk.search import search_view

# Schedules and queues are declared in code: a row edited by hand would be overwritten, or stop them all. Factors and
# sessions are their users' own.
HIDDEN_APPS = frozenset({"django_q", "account", "mfa", "usersessions", "socialaccount"})
# The portal's own group of the menu also holds Django's users and groups; it and the plumbing come last.
PORTAL, SYSTEM = "portal", "system"
MERGED_APPS = {"auth": PORTAL}
LAST = 90


@dataclass(frozen=True)
class Page:
    """A page of the admin without a model: its place in the menu and its permission."""

    app_label: str
    name: Any
    url_name: str
    permission: str
    urls: Callable[[], list[Any]]
    menu_group: str = ""


class VigieAdminSite(AdminSite):
    pages: ClassVar[list[Page]] = []
    site_header = site_title = "Vigie"
    index_title = _("Overview")
    index_template = "portal/index.html"
    app_index_template = "portal/app_index.html"
    site_url = None
    empty_value_display = "–"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        models: list[Any] = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        visible = [model for model in models if model._meta.app_label not in HIDDEN_APPS]
        super().register(visible, admin_class, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the menu, which the landing page needs twice, or the models of one app."""
        if app_label:
            return self.build_app_list(request, app_label)
        if not hasattr(request, "menu"):
            request.menu = self.build_app_list(request)  # type: ignore[attr-defined]
        return list(request.menu)  # type: ignore[attr-defined]

    def build_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the menu: groups and entries in the order that apps and admins declare as `menu_order`.

        Admins with `menu_group = "system"` show how the portal works inside; they share the last group.
        """
        apps = super().get_app_list(request, app_label)
        for app in apps:
            own = [page for page in self.pages if page.app_label == app["app_label"]]
            app["models"] += [menu_entry(page) for page in own if request.user.has_perm(page.permission)]
        if app_label:
            return apps
        groups: dict[str, Any] = {}
        for app in sorted(apps, key=app_order):
            for entry in app["models"]:
                label = self.declared(entry, "menu_group", "") or MERGED_APPS.get(app["app_label"], app["app_label"])
                groups.setdefault(label, {**app, "app_label": label, "models": []})["models"].append(entry)
        for group in groups.values():
            group["models"].sort(key=self.menu_order)
        if PORTAL in groups:
            groups[PORTAL]["name"] = apps_registry.get_app_config(PORTAL).verbose_name
        if SYSTEM in groups:
            groups[SYSTEM] = {**groups.pop(SYSTEM), "name": _("System"), "app_url": ""}
        return list(groups.values())

    def declared(self, entry: dict[str, Any], name: str, default: Any) -> Any:
        """Return what the admin behind a menu entry declares."""
        return getattr(self._registry[entry["model"]], name, default) if "model" in entry else entry.get(name, default)

    def menu_order(self, entry: dict[str, Any]) -> int:
        order: int = self.declared(entry, "menu_order", LAST)
        return order

    def get_urls(self) -> list[Any]:
        """Leave out Django's redirect to a row's own page: no model has one, and it looks before it asks who may."""
        django = [url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site"]
        own = [
            path("search/", self.admin_view(search_view), name="search"),
            path("profile/", self.admin_view(profile.profile_view), name="profile"),
            path("checklist/", self.admin_view(profile.checklist_view), name="checklist"),
            path("acknowledge/", self.admin_view(self.acknowledge_view), name="acknowledge"),
            path("help/", self.admin_view(self.help_view), name="help"),
        ]
        return [*own, *(url for page in self.pages for url in page.urls()), *django]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return live.answer_polls(super().admin_view(view, cacheable))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what every page is rendered with; a poll gets the content block alone."""
        own = {"is_fragment": is_poll(request), "readers_zone": str(readers_zone()), "version": __version__}
        return super().each_context(request) | own

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
        return super().index(request, overview(request) | (extra_context or {}))

    def acknowledge_view(self, request: HttpRequest) -> HttpResponse:
        return acknowledge_view(request, findings_for(request, timezone.now()))

    def help_view(self, request: HttpRequest) -> TemplateResponse:
        steps = load_checklist(request).steps
        context = self.each_context(request) | {"title": _("Help"), "portal_url": settings.PORTAL_URL, "steps": steps}
        return TemplateResponse(request, "portal/help.html", context)


def overview(request: HttpRequest) -> dict[str, Any]:
    """Return what the landing page shows: the checklist until it is done or dismissed, findings and tiles."""
    now, checklist = timezone.now(), load_checklist(request)
    findings = findings_for(request, now)
    is_shown = checklist.is_open and not load_preferences(request).has_dismissed_checklist
    return {
        "checklist": checklist if is_shown else None,
        "is_portal_empty": checklist.is_portal_empty,
        "findings": [finding for finding in findings if finding.acknowledgement is None],
        "acknowledged": [finding for finding in findings if finding.acknowledgement is not None],
        "tiles": [tile for tile in current_tiles(now) if may_open(request, tile.url)],
    }


def app_order(app: dict[str, Any]) -> tuple[int, str]:
    is_own = app["app_label"] in (PORTAL, *MERGED_APPS)
    return (LAST if is_own else getattr(apps_registry.get_app_config(app["app_label"]), "menu_order", 0), app["name"])


def menu_entry(page: Page) -> dict[str, Any]:
    """Return the entry that the menu's template expects of a model."""
    url = reverse(f"admin:{page.url_name}")
    own = {"name": page.name, "object_name": page.url_name, "admin_url": url, "menu_group": page.menu_group}
    return own | {"add_url": None, "perms": {}}


def only_for(permission: str, view: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    """Return the view of a page, which only users with the permission may open."""

    def checked(request: HttpRequest) -> HttpResponseBase:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request)

    return admin.site.admin_view(checked)


def findings_for(request: HttpRequest, now: datetime) -> list[Finding]:
    """Return the findings that the user may see, without the buttons that they may not use."""
    seen = [
        finding if may_act(request, finding) else replace(finding, url="")
        for finding in recent_findings(now)
        if may_open(request, finding.url)
    ]
    return add_acknowledgements(seen, now)


def may_act(request: HttpRequest, finding: Finding) -> bool:
    if finding.permission:
        return request.user.has_perm(finding.permission)
    return may_use(request, finding.url)
