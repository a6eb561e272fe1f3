"""The components of the portal: the same commands that can be run alone, each in a fork of the supervisor."""

import errno
import socket
import sys
import time
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from gunicorn.app import wsgiapp as gunicorn

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


def list_components(listening: socket.socket, patience: timedelta) -> list[Component]:
    def run_command(*arguments: str, **options: Any) -> None:
        listening.close()  # only the web server may keep the address
        call_command(*arguments, **options)

    after = patience.total_seconds()
    return [
        Component("web", partial(run_gunicorn, listening.fileno())),
        *(Component(name, partial(run_command, "cluster", name, patience=after)) for name in CLUSTERS),
        Component("pulse", partial(run_command, "pulse")),
    ]


def run_gunicorn(descriptor: int) -> None:
    """Run gunicorn on an open socket, as its command line would."""
    sys.argv = ["gunicorn", "-c", "python:portal.supervisor.web", "--bind", f"fd://{descriptor}"]
    sys.argv += ["--chdir", str(settings.BASE_DIR)]
    gunicorn.run()
