"""A fake of Telegram's Bot API on this machine, which keeps the messages of the portal."""

from __future__ import annotations

import html
import json
import re
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, CHAT = "123456789:the-token-of-nobody-but-the-demo-0000000", "-1000000000001"
MARKUP = re.compile(r"</?\w+>")


class Handler(BaseHTTPRequestHandler):
    server: Telegram

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == f"/bot{TOKEN}/sendMessage":
            self.server.receive(str(body["text"]))
            self.answer({"ok": True, "result": {}})
        elif self.path == f"/bot{TOKEN}/getMe":
            self.answer({"ok": True, "result": {"username": "vigie_demo_bot"}})
        else:
            self.answer({"ok": False, "error_code": 404})

    def answer(self, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


class Telegram(ThreadingHTTPServer):
    """A fake Telegram. `received` has the messages in their order, one line each."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings with which the portal sends its messages here."""
        base = f"http://127.0.0.1:{self.server_port}"
        return {"TELEGRAM_API_BASE": base, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": CHAT}

    def receive(self, text: str) -> None:
        title, *rest = (part for part in html.unescape(MARKUP.sub("", text)).splitlines() if part)
        detail = f": {rest[0]}" if len(rest) > 1 else ""
        self.received.append(f"{datetime.now():%H:%M:%S}  {title}{detail}")
