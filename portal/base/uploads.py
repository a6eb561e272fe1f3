"""Size limits of forms and uploaded files; anonymous visitors may send little."""

from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

MOST_BYTES = 5 * 1024 * 1024
MOST_ANONYMOUS_BYTES = 64 * 1024
MOST_FORM_BYTES = 6 * 1024 * 1024
MOST_FIELDS = 100


class BoundedUploadHandler(FileUploadHandler):
    """Keep a file that is too large from being stored: Django would write it to the disk, whatever its size."""

    is_too_large = False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        if start + len(raw_data) > MOST_BYTES:
            self.is_too_large = True
            raise SkipFile
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


def is_too_large(request: HttpRequest) -> bool:
    """Return True if a file of this request, which has been parsed, was dropped as too large."""
    return any(getattr(handler, "is_too_large", False) for handler in request.upload_handlers)


def parse_form(form: bytes) -> dict[str, str]:
    """The fields of a form as browsers send it by default, the last of each name. Raises TooManyFieldsSent."""
    pairs = [pair.partition(b"=") for pair in form.split(b"&", MOST_FIELDS)]
    if len(pairs) > MOST_FIELDS:
        raise TooManyFieldsSent(f"a form has more than {MOST_FIELDS} fields")
    return {unescape_form(name): unescape_form(value) for name, _, value in pairs}


def unescape_form(text: bytes) -> str:
    """The text with its escapes, such as `%C3%A9`, decoded by a codec of Python.

    `urllib` takes a third of a second and 80 MiB for a MiB of escapes. Escapes of no hexadecimal digits are left out.
    """
    escapes = text.replace(b"+", b" ").replace(b"\\", b"\\\\").replace(b"%", b"\\x")
    return escapes.decode("unicode_escape", "ignore").encode("latin-1").decode(errors="replace")


class FormSizeMiddleware(MiddlewareMixin):
    """Refuse a large form before it is read, which looking for its CSRF token does.

    An anonymous user may send 64 KiB, a signed-in one 6 MiB.

    Views without that token, such as those of the API, read their bodies themselves, within limits of their own.
    """

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        length = request.META.get("CONTENT_LENGTH") or ""
        size = int(length[:20]) if length.isdigit() else 0
        if size <= MOST_ANONYMOUS_BYTES or getattr(view, "csrf_exempt", False):
            return
        if size > MOST_FORM_BYTES or not request.user.is_authenticated:
            raise RequestDataTooBig("the form is too large")
