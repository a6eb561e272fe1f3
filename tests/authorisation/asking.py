"""Requests as each caller makes them, and their responses as one word."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.db import transaction
from django.http import HttpResponseBase
from django.shortcuts import resolve_url
from django.test import RequestFactory
from django.urls import reverse

from tests.authorisation.bodies import HEADERS, body_of
from tests.authorisation.world import Caller


class Portal:
    """The portal with all its middleware, without a socket. Every request is rolled back."""

    def __init__(self) -> None:
        self.factory, self.handler = RequestFactory(), BaseHandler()
        self.handler.load_middleware()

    def ask(self, caller: Caller, method: str, path: str, *, is_forged: bool = False) -> str:
        """Return `200`, `403` ..., or `login` if the caller is redirected to the sign-in page."""
        return word(self.answer(caller, method, path, is_forged=is_forged))

    def answer(self, caller: Caller, method: str, path: str, *, is_forged: bool = False) -> HttpResponseBase:
        sent = headers(caller) | HEADERS.get((method, path), {})
        request = self.factory.generic(method, path, **content(body_of(method, path)), headers=sent)
        request._dont_enforce_csrf_checks = not is_forged  # type: ignore[attr-defined]  # as the test client does
        with transaction.atomic():
            response = self.handler.get_response(request)
            transaction.set_rollback(True)
        return response


def headers(caller: Caller) -> dict[str, str]:
    found = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
    return found | ({"Cookie": f"{settings.SESSION_COOKIE_NAME}={caller.session}"} if caller.session else {})


def content(body: Any) -> dict[str, Any]:
    match body:
        case None:
            return {}
        case str():
            return {"data": body, "content_type": "application/x-www-form-urlencoded"}
        case bytes():
            return {"data": body, "content_type": "application/octet-stream"}
        case _:
            return {"data": json.dumps(body), "content_type": "application/json"}


def word(response: HttpResponseBase) -> str:
    sign_in = (resolve_url(settings.LOGIN_URL), reverse("admin:login"))
    if response.status_code in (301, 302) and urlsplit(response["Location"]).path in sign_in:
        return "login"
    return str(response.status_code)
