"""gunicorn's configuration: `gunicorn -c python:portal.supervisor.web`."""

from typing import Any

from django.conf import settings

from portal.supervisor import lifeline

wsgi_app = "portal.wsgi:application"
worker_class = "gthread"
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
timeout = 60
graceful_timeout = 30
keepalive = 5
# A worker's memory is not all its own fault: libraries leak. Not all workers at the same time.
max_requests = 20_000
max_requests_jitter = 2_000
control_socket_disable = True
# Which proxy to believe is TRUSTED_PROXIES' business (see portal.addresses).
forwarded_allow_ips = ""
logging: Any = settings.LOGGING
logconfig_dict = logging | {
    "loggers": logging["loggers"]
    | {
        "gunicorn.error": {"handlers": [], "propagate": True, "level": "INFO"},
        "gunicorn.access": {"handlers": [], "propagate": False},
    }
}


def on_starting(server: Any) -> None:
    lifeline.hold()
