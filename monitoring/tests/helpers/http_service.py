"""A local HTTP service to watch, with scripted answers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    server: HttpService

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.arrivals.release()
        self.server.gate.wait()
        found = self.server.statuses.get(self.path, 200)
        status = found.pop(0) if isinstance(found, list) else found
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


class HttpService(ThreadingHTTPServer):
    """Answers 200, or the status in `statuses` by path; a list is answered in turn. A closed `gate` keeps callers waiting."""

    daemon_threads = True
    request_queue_size = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: dict[str, int | list[int]] = {}
        self.asked: list[str] = []
        self.arrivals = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore callers that hang up."""

    def __enter__(self) -> HttpService:
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()
