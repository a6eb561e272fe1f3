"""Pages that keep themselves up to date.

Every page of the admin has at most one live part: the element with the id `live`. `live.js` requests the page's own
address every few seconds, by htmx and with the ETag of the last answer. The answer holds the content block alone, and
is 304 without a body if nothing has changed. A hidden tab asks nothing. Nothing is replaced while a field of the part
has the focus or a changed value, or while rows or text are selected.

A poll is never redirected, since the browser would follow and get the live part of another page: it is answered 401 if
the user is signed out and 409 if the page has moved or gone. Then, or when polls keep failing, the page says since when
it has not been up to date.

To switch it on for a page, put what changes into that element, and no form that people fill in:

    <div id="live" {% include "portal/live.html" %}>…</div>

The landing page, lists and the pages of one row (`portal/standing.html`) have it. A poll is the page's own view with
its own permissions and queries. It does not prolong the session, and is not tracked as use.
"""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotModified

from portal.base.polling import is_poll, mark_answered_poll

View = Callable[..., HttpResponseBase]
# Masked anew in each answer.
CSRF_FIELD = re.compile(rb'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')
LIVE_PART = b'id="live"'


def answer_polls(view: View) -> View:
    """Wrap a page to answer polls with its live part, with 304 if nothing has changed, or with why there is none."""

    @wraps(view)
    def answering(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        return answer_poll(request, response) if is_poll(request) else response

    return answering


def answer_poll(request: HttpRequest, response: Any) -> HttpResponseBase:
    if "Location" in response.headers:
        return refuse_redirect(request)
    if response.status_code != HTTPStatus.OK or response.streaming:
        return response  # type: ignore[no-any-return]
    if getattr(response, "is_rendered", True) is False:
        response.render()
    if LIVE_PART not in response.content:
        return response  # type: ignore[no-any-return]
    mark_answered_poll(request)
    content = CSRF_FIELD.sub(b"", response.content)
    etag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponseNotModified()
    response.headers["ETag"] = etag
    return response  # type: ignore[no-any-return]


def refuse_redirect(request: HttpRequest) -> HttpResponse:
    """Answer 401 or 409. What the view said about the redirect would appear on the next page, without its reason."""
    mark_answered_poll(request)
    get_messages(request)._queued_messages.clear()  # type: ignore[union-attr]
    return HttpResponse(status=HTTPStatus.CONFLICT if request.user.is_authenticated else HTTPStatus.UNAUTHORIZED)
