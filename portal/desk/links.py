"""Links of the admin: whether the user may follow one."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.http import HttpRequest
from django.urls import Resolver404, resolve, reverse


@dataclass(frozen=True)
class Link:
    url: str
    text: Any


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


def may_open(request: HttpRequest, url: str) -> bool:
    """Return whether the user may see the model whose page the url leads to: its figures are not for others either."""
    return all(model_admin.has_view_or_change_permission(request) for model_admin in admins_behind(url))


def may_use(request: HttpRequest, url: str) -> bool:
    """Return whether the user may open the page and do what it is for: add a row, or change a password."""
    path = urlsplit(url).path
    if not may_open(request, url) or not all(request.user.has_perm(page.permission) for page in pages_at(path)):
        return False
    return all(
        (model_admin.has_add_permission(request) or not path.endswith("/add/"))
        and (model_admin.has_change_permission(request) or not path.endswith("/password/"))
        for model_admin in admins_behind(url)
    )


def pages_at(path: str) -> list[Any]:
    """Return the page without a model that has this path, if there is one."""
    return [page for page in getattr(admin.site, "pages", ()) if reverse(f"admin:{page.url_name}") == path]


def link_for(request: HttpRequest, target: tuple[str, Any] | None) -> Link | None:
    """Return the link to a page `(name, text)` of the admin, or None for users who may not open it."""
    if target is None:
        return None
    url = reverse(target[0])
    return Link(url, target[1]) if may_use(request, url) else None
