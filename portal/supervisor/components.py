"""The components of the portal, as command lines."""

import errno
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from portal.supervisor.children import Component
from portal.supervisor.lifeline import ORPHAN_GRACE_SECONDS
from portal.work.clusters import CLUSTERS

BACKLOG = 1024
LOOK_SECONDS = 0.2
PORT_WAIT_SECONDS = ORPHAN_GRACE_SECONDS + 1.0


def open_listener(bind: str) -> socket.socket:
    """The socket that gunicorn serves. Raises ValueError for what is no HOST:PORT, OSError where it cannot be had.

    The supervisor keeps it open: while gunicorn is being restarted, callers wait instead of being refused. An address
    in use is waited for, since the orphans of a killed supervisor hold it until their grace is over.
    """
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or not int(port) < 2**16:
        raise ValueError(f"{bind} is not HOST:PORT")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PORT_WAIT_SECONDS
    while True:
        try:
            return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
        time.sleep(LOOK_SECONDS)


def manage_command(*arguments: str) -> list[str]:
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]


def list_components(listening: socket.socket, patience: timedelta) -> list[Component]:
    descriptor = listening.fileno()
    web = [sys.executable, "-m", "gunicorn", "-c", "python:portal.supervisor.web", "--bind", f"fd://{descriptor}"]
    after = str(patience.total_seconds())
    return [
        Component("web", [*web, "--chdir", str(settings.BASE_DIR)], descriptors=[descriptor]),
        *(
            Component(name, manage_command("cluster", name, "--patience", after), environment={"Q_CLUSTER_NAME": name})
            for name in CLUSTERS
        ),
        Component("pulse", manage_command("pulse")),
    ]
