"""Name the features of a digest as its readers know them: pages by their titles, API calls by method and path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.urls import get_resolver
from django.urls.resolvers import URLPattern
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

ADMIN = "admin:"
ACCOUNT = ("account_", "mfa_", "oidc_")
# Whoever signs in, or looks at the portal, does not use the publisher's product.
PORTAL_PAGES = (ADMIN, *ACCOUNT, "set_language")
PAGES = {"admin:index": gettext_lazy("Overview"), "admin:usage_dashboard": gettext_lazy("Usage over time")}
ACTIONS = {
    "changelist": "",
    "change": gettext_lazy("detail page"),
    "add": gettext_lazy("add"),
    "delete": gettext_lazy("delete"),
    "history": gettext_lazy("history"),
    "act": gettext_lazy("actions"),
    "export": gettext_lazy("export"),
    "export_xlsx": gettext_lazy("export"),
}
METHODS = ("get", "post", "put", "patch", "delete")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def is_portal_page(name: str) -> bool:
    """Return True for pages of the admin and of signing in: operators' own clicks."""
    return name.startswith(PORTAL_PAGES)


def feature_title(name: str) -> str:
    """Return `Licences: detail page` or `POST /api/v1/usage/report`; features of applications keep their names."""
    if name in PAGES:
        return str(PAGES[name])
    if name.startswith(ADMIN):
        return admin_title(name.removeprefix(ADMIN))
    if name.startswith(ACCOUNT):
        return _("Sign-in and security")
    return api_calls().get(name, name)


def admin_title(name: str) -> str:
    """Return the title of a page of the admin. Names that belong to no model are shown as words."""
    app_label, _separator, rest = name.partition("_")
    for model in admin.site._registry:
        prefix = f"{model._meta.model_name}_"
        if model._meta.app_label == app_label and rest.startswith(prefix):
            action = rest.removeprefix(prefix)
            title = capfirst(str(model._meta.verbose_name_plural))
            detail = str(ACTIONS.get(action, action.replace("_", " ")))
            return f"{title}: {detail}" if detail else title
    is_app = app_label in {config.label for config in apps.get_app_configs()}
    return capfirst((rest if is_app and rest else name).replace("_", " "))


# --- API calls -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def api_calls() -> dict[str, str]:
    """Return `POST /api/v1/usage/report` by the name of the route; the first of several routes counts."""
    titles: dict[str, str] = {}
    for route, pattern in iterate_routes(get_resolver().url_patterns):
        methods = methods_of(pattern.callback)
        if pattern.name and methods:
            template = PARAMETER.sub("{\\1}", route)
            titles.setdefault(pattern.name, f"{'/'.join(methods)} /{template}")
    return titles


def iterate_routes(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield each API route with its pattern."""
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            if route.startswith("api/"):
                yield route, pattern
        elif "api/".startswith(route) or route.startswith("api/"):
            yield from iterate_routes(pattern.url_patterns, route)


def methods_of(view: Any) -> list[str]:
    view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
    return [method.upper() for method in METHODS if hasattr(view_class, method)]
