"""gunicorn with one thread, for `test_connections`: prints its port.

Given `short`, its deadlines are; given `full`, there is no room for temporary files; given `small`, for a megabyte; given
`few`, few files can be opened.
"""

import resource
import sys
import tempfile

from gunicorn.app.base import BaseApplication

from portal.supervisor import connections
from portal.supervisor.components import open_listener

CONNECTIONS = 30
# Longer than the socket buffers of a client that reads nothing.
LONG = b"x" * 3_000_000


def echo(environ, start_response):
    """Answer with the body; `/long` with a long answer, `/refused` without reading, `/deposit` waiting for the body."""
    path = environ["PATH_INFO"]
    if path == "/deposit":
        environ["gunicorn.socket"].await_body(60)
    body = {"/long": LONG, "/refused": b"no"}.get(path)
    if body is None:
        body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Server(BaseApplication):  # type: ignore[misc]
    def load_config(self):
        self.cfg.set("bind", f"fd://{listening.fileno()}")
        self.cfg.set("worker_class", "portal.supervisor.connections.Worker")
        self.cfg.set("threads", 1)
        self.cfg.set("worker_connections", CONNECTIONS)
        self.cfg.set("control_socket_disable", True)

    def load(self):
        if sys.argv[1:] == ["full"]:
            tempfile.tempdir = "/dev/null"
        return echo


if __name__ == "__main__":
    # A slow machine must not reach a deadline in a test of something else.
    connections.HEAD_SECONDS = connections.BODY_SECONDS = 600
    if sys.argv[1:] == ["short"]:
        connections.HEAD_SECONDS = connections.BODY_SECONDS = 0.3
        connections.BYTES_PER_SECOND = 10**9
    if sys.argv[1:] == ["few"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    if sys.argv[1:] == ["small"]:
        connections.MOST_STORED = 1_000_000
    listening = open_listener("127.0.0.1:0")
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    Server().run()
