"""A local HTTP server that answers as the test says: the receiver of a webhook, and below it Telegram's Bot API."""

from __future__ import annotations

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

LONGEST_TEXT = 4096
# Looks like the token of a bot, and must appear in no answer or log.
TOKEN = "123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        step = self.server.script.pop(0) if self.server.script else self.server.usual
        if callable(step):
            step(self, body)
        else:
            self.answer(*step)

    def answer(self, status: int, said: Any = None, **headers: str) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


class Receiver(ThreadingHTTPServer):
    """`script` holds the next answers: `(status, content)`, or a function of the handler; `usual` is given after them."""

    daemon_threads = True
    usual: Any = (200, None)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.script: list[Any] = []
        self.is_over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client disconnects."""

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        self.shutdown()
        self.server_close()

    def accept(self, message: dict[str, Any]) -> None:
        """Record an accepted message."""

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _path, _headers, body in self.requests]


# --- Failing responses---------------------------------------------------------------------------------------------------


def hang(handler: Handler, body: bytes) -> None:
    handler.server.is_over.wait()


def reset(handler: Handler, body: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def lose_the_reply(handler: Handler, body: bytes) -> None:
    """Accept the message, then close the connection without a response."""
    handler.server.accept(json.loads(body))
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def drip(handler: Handler, body: bytes) -> None:
    """Send the headers byte by byte, so that no socket timeout occurs."""
    while not handler.server.is_over.wait(0.02):
        handler.wfile.write(b"H")


def drip_the_body(handler: Handler, body: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not handler.server.is_over.wait(0.02):
        handler.wfile.write(b"{")


def flood(handler: Handler, body: bytes) -> None:
    """Send an endless response."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not handler.server.is_over.is_set():
        handler.wfile.write(b" " * 65536)


# --- Telegram's Bot API ----------------------------------------------------------------------------------------------


def refusal(status: int, description: str, **parameters: Any) -> tuple[int, Any]:
    return status, {"ok": False, "error_code": status, "description": description, "parameters": parameters}


class BotApi(Receiver):
    """Telegram's Bot API, refusing malformed markup, long texts and other tokens as the real one does."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.accepted: list[dict[str, Any]] = []
        self.usual = self.take
        super().__init__()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.accepted]

    def accept(self, message: dict[str, Any]) -> None:
        self.accepted.append(message)

    def take(self, handler: Handler, body: bytes) -> None:
        message = json.loads(body)
        answer = self.refusal_of(handler.path, message)
        if answer is None:
            self.accept(message)
            answer = 200, {"ok": True, "result": {"message_id": len(self.accepted)}}
        handler.answer(*answer)

    def refusal_of(self, path: str, message: dict[str, Any]) -> Any:
        if path != f"/bot{self.token}/sendMessage":
            return refusal(401, "Unauthorized")
        text = message["text"]
        if message.get("parse_mode") == "HTML":
            try:
                text = "".join(ElementTree.fromstring(f"<m>{text}</m>").itertext())
            except ElementTree.ParseError:
                return refusal(400, "Bad Request: can't parse entities: unsupported start tag")
        if len(text.encode("utf-16-le")) // 2 > LONGEST_TEXT:
            return refusal(400, "Bad Request: message is too long")
        return refusal(400, "Bad Request: message text is empty") if not text.strip() else None
