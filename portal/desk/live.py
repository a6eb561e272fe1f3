"""Pages that keep themselves up to date.

Every page of the admin has at most one live part: the element with the id `live`. `live.js` requests the page's own
address every few seconds, by htmx and with the ETag of the last answer. The answer holds the content block alone, and
is 304 without a body if nothing has changed. Nothing is replaced while the tab is hidden, while a field of the part
has the focus or a changed value, or while rows or text are selected.

To switch it on for a page, put what changes into that element, and no form that people fill in:

    <div id="live" {% include "portal/live.html" %}>…</div>

The landing page, lists and the pages of one row (`portal/standing.html`) have it. A poll is the page's own view with
its own permissions and queries. It does not prolong the session, and is not tracked as use.
"""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotModified

from portal.base.polling import is_poll

View = Callable[..., HttpResponseBase]
# Masked anew in each answer.
CSRF_FIELD = re.compile(rb'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')


def answer_polls(view: View) -> View:
    """Wrap a page to answer polls with 304 if nothing has changed."""

    @wraps(view)
    def answering(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        return answer_poll(request, response) if is_poll(request) and response.status_code == 200 else response

    return answering


def answer_poll(request: HttpRequest, response: Any) -> HttpResponseBase:
    if getattr(response, "is_rendered", True) is False:
        response.render()
    content = CSRF_FIELD.sub(b"", response.content)
    etag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponseNotModified()
    response.headers["ETag"] = etag
    return response  # type: ignore[no-any-return]
