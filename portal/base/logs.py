"""Structured logs on stderr: one JSON object a line, never a token, never a raw path of a request."""

import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator

from django.http import HttpRequest, HttpResponseBase
from pythonjsonlogger.json import JsonFormatter as BaseFormatter
from vigie_client import contract

access = logging.getLogger("vigie.access")

# Asked every few seconds by whoever watches the portal: their lines would bury the others.
NOT_LOGGED = re.compile(r"^/(healthz|readyz|metrics|static/.*)$")
# Where participants say what they think: nothing kept beside it is to tell from where.
WITHOUT_ADDRESS = re.compile(r"^/(api/v1/beta/feedback$|feedback/)")


# A Telegram bot's token: part of every address of its API, which libraries put into their errors. The lookbehind and
# the possessive quantifier keep the search linear in a long run of digits.
BOT_TOKEN_IN_TEXT = re.compile(r"(?<!\d)\d{5,}+(?::|%3A)[A-Za-z0-9_-]{30,}", re.IGNORECASE)


def redact_tokens(text: str) -> str:
    return BOT_TOKEN_IN_TEXT.sub("…", re.sub(contract.TOKEN, r"\1_…", text))


class JsonFormatter(BaseFormatter):
    """Redacts the finished line, so that tokens inside tracebacks and arguments go too."""

    def __init__(self) -> None:
        super().__init__(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "at", "levelname": "level", "name": "logger"},
        )
        self.converter = time.gmtime
        self.default_msec_format = "%s.%03dZ"
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        return redact_tokens(super().format(record))


class WithoutValues(logging.Filter):
    """Log an exception's class and frames without its message, which may quote what a client sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.exc_info, record.exc_text = None, "\n".join(exception_chain(error))
        return True


def exception_chain(error: BaseException | None) -> Iterator[str]:
    """An exception and those it was raised from, the latest first."""
    while error is not None:
        yield f"{type(error).__module__}.{type(error).__qualname__}"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# Each is a logger of Django's, named after the exception. A filter sees the records of its own logger alone.
SUSPICIOUS = (
    *("csrf", "DisallowedHost", "DisallowedModelAdminLookup", "DisallowedModelAdminToField", "DisallowedRedirect"),
    *("InvalidSessionKey", "RequestDataTooBig", "SuspiciousFileOperation", "SuspiciousMultipartForm"),
    *("SuspiciousOperation", "SuspiciousSession", "TooManyFieldsSent", "TooManyFilesSent"),
)


class WithoutPath(WithoutValues):
    """Django's own lines of failed and suspicious requests carry paths, hosts and queries; the access log has routes.

    What is left of them is the logger's name, which says what it was, and where a page failed.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        super().filter(record)
        if record.name.startswith("django.security"):
            # The request was refused, and nothing failed: whoever sends many must not fill a log of errors.
            record.levelno, record.levelname, record.exc_text = logging.WARNING, "WARNING", None
        record.msg, record.args = "a request failed", ()
        for name in ("request", "status_code"):
            record.__dict__.pop(name, None)
        return True


# What gunicorn says above INFO of itself. Anything else up there is about a request, in the words of whoever sent it.
GUNICORN_MESSAGE = re.compile(
    r"Worker \(|WORKER TIMEOUT|Exception (in|during) worker|Unhandled|Connection in use|Invalid address"
    r"|connection to |Can't connect|No keepalived|USR2|Reloader|reloading"
)


class WithoutSender(WithoutValues):
    """gunicorn's lines of requests carry methods, queries and headers as they were sent; those of itself stay.

    Its lines for debugging show what was read of a connection, so there are none.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        super().filter(record)
        if record.levelno > logging.INFO and not GUNICORN_MESSAGE.match(str(record.msg)):
            record.msg, record.args = "a request failed", ()
        return record.levelno >= logging.INFO


class AccessLogMiddleware:
    """One line per request, naming the route and not the path: a path may carry what nobody meant to log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        if not NOT_LOGGED.match(request.path_info):
            match = request.resolver_match
            access.info(
                "%s %s",
                request.method if request.method in KNOWN_METHODS else "OTHER",
                response.status_code,
                extra={
                    "route": match.route if match else None,
                    "ms": round((time.perf_counter() - started) * 1000, 1),
                    "address": None if WITHOUT_ADDRESS.match(request.path_info) else request.META.get("REMOTE_ADDR"),
                },
            )
        return response


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# --- Configuration ---------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "without_path": {"()": "portal.base.logs.WithoutPath"},
        "without_sender": {"()": "portal.base.logs.WithoutSender"},
        "without_values": {"()": "portal.base.logs.WithoutValues"},
    },
    "formatters": {"json": {"()": "portal.base.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.request": {"level": "ERROR", "filters": ["without_path"]},
        "django.security": {"filters": ["without_path"], "level": "ERROR"},
        **{f"django.security.{name}": {"filters": ["without_path"]} for name in SUSPICIOUS},
        "vigie.api": {"filters": ["without_values"]},
        "vigie.tracking": {"filters": ["without_values"]},
        "django.server": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        # Here and not in gunicorn's own configuration, so that they hold however it is started.
        "gunicorn.error": {"handlers": [], "propagate": True, "filters": ["without_sender"]},
        "gunicorn.access": {"handlers": [], "propagate": False},
    },
}
