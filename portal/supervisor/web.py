"""gunicorn's configuration: `gunicorn -c python:portal.supervisor.web`."""

import os
from typing import Any

from django.conf import settings

from portal.supervisor import connections, lifeline

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
wsgi_app = "portal.wsgi:application"
worker_class = "portal.supervisor.connections.Worker"
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
worker_connections = connections.most_connections(1200)
timeout = 60
graceful_timeout = 30
keepalive = 5
umask = 0o077
# Workers are not recycled: that would cut deposits and downloads that take longer than the grace.
control_socket_disable = True
# Which proxy to believe is TRUSTED_PROXIES' business (see portal.base.addresses).
forwarded_allow_ips = ""
logconfig_dict = settings.LOGGING


def on_starting(server: Any) -> None:
    lifeline.watch_lifeline()
