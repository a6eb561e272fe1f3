"""A local mail server that stores messages and refuses what the test specifies."""

from __future__ import annotations

import email
import socketserver
import threading
from email.message import EmailMessage
from email.policy import default


class Session(socketserver.StreamRequestHandler):
    server: SmtpSink

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        if self.server.greeting:
            self.say(self.server.greeting)
            return
        self.say("220 sink")
        for line in self.rfile:
            verb = line.decode().strip().upper()
            if verb == "QUIT":
                self.say("221 bye")
                return
            if verb == "DATA":
                self.take_data()
                continue
            self.say(
                next((said for start, said in self.server.answers.items() if verb.startswith(start.upper())), "250 ok")
            )

    def take_data(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        answer = self.server.answers.get("END OF DATA", "250 ok")
        if answer.startswith("250"):
            self.server.mails.append(email.message_from_bytes(b"".join(lines), policy=default))
        self.say(answer)


class SmtpSink(socketserver.ThreadingTCPServer):
    """`answers` maps the beginning of a command to what is said: `{"RCPT TO:<BOB": "550 nobody"}`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.greeting = ""
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()
