"""gunicorn with one thread and short deadlines, for `test_connections`: prints its port."""

import sys

from gunicorn.app.base import BaseApplication

from portal.supervisor import connections
from portal.supervisor.components import listen

connections.HEAD_SECONDS = 0.3
connections.BODY_SECONDS, connections.BYTES_PER_SECOND, connections.LONGEST_CHUNKED = 0.3, 1_000, 0


def echo(environ, start_response):
    if environ["PATH_INFO"] == "/deposit":
        environ["gunicorn.socket"].settimeout(60)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Server(BaseApplication):  # type: ignore[misc]
    def load_config(self):
        self.cfg.set("bind", f"fd://{listening.fileno()}")
        self.cfg.set("worker_class", "portal.supervisor.connections.Worker")
        self.cfg.set("threads", 1)
        self.cfg.set("control_socket_disable", True)

    def load(self):
        return echo


if __name__ == "__main__":
    listening = listen("127.0.0.1:0")
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    Server().run()
