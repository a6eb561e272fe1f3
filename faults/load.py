"""The load on a portal while it is killed, and the services that it calls."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from gzip import compress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import DatabaseError, close_old_connections, transaction
from django.utils import timezone

from backups.models import ExpectedBackupJob
from portal.notifications import Notice, Severity, notify

# --- Applications ----------------------------------------------------------------------------------------------------


class Reporters:
    """Processes that report `count` runs each, and are restarted after a kill."""

    def __init__(self, url: str, token: str, folder: Path, processes: int, count: int) -> None:
        self.folders = [folder / f"app{number}" for number in range(processes)]
        for folder in self.folders:
            folder.mkdir(parents=True)
        self.commands = [
            [sys.executable, "-m", "faults.reporter", url, token, str(each), str(count)] for each in self.folders
        ]
        self.running = [subprocess.Popen(command) for command in self.commands]

    def kill_one(self, number: int) -> None:
        index = number % len(self.running)
        self.running[index].kill()
        self.running[index].wait()
        self.running[index] = subprocess.Popen(self.commands[index])

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()

    def sent_runs(self) -> set[str]:
        return {UUID(line).hex for folder in self.folders for line in (folder / "ledger").read_text().split()}


# --- External services -----------------------------------------------------------------------------------------------


class QuietHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def serve_in_thread(handler: type[QuietHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Service:
    """A monitored service, which keeps the times of its checks in `asked`."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def handler(self) -> type[QuietHandler]:
        asked = self.asked

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                asked.append(time.monotonic())
                self.answer(200, {})

        return Handler

    def longest_silence(self, since: float, until: float) -> float:
        moments = [since, *(at for at in self.asked if since <= at <= until), until]
        return max(after - before for before, after in pairwise(moments))


class Telegram:
    """A faulty Bot API: it refuses, fails, hangs, and accepts messages without an answer."""

    MOODS = ("ok", "ok", "429", "ok", "500", "ok", "swallow", "ok", "hang", "ok")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = 0
        # Numbers of the accepted messages, by chat.
        self.accepted: dict[str, list[int]] = {}
        self.unanswered = 0

    def next_mood(self) -> str:
        with self.lock:
            self.calls += 1
            return self.MOODS[self.calls % len(self.MOODS)]

    def accept(self, body: dict[str, Any], is_answered: bool) -> None:
        numbers = [int(number) for number in re.findall(r"message (\d+)", body["text"])]
        with self.lock:
            self.accepted.setdefault(str(body["chat_id"]), []).extend(numbers)
            self.unanswered += 0 if is_answered else len(numbers)

    def handler(self) -> type[QuietHandler]:
        telegram = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mood = telegram.next_mood()
                if mood == "429":
                    self.answer(429, {"ok": False, "error_code": 429, "parameters": {"retry_after": 1}})
                elif mood == "500":
                    self.answer(500, {"ok": False, "error_code": 500})
                else:
                    telegram.accept(body, is_answered=mood != "swallow")
                    if mood == "swallow":
                        self.close_connection = True
                        return
                    time.sleep(3 if mood == "hang" else 0)
                    with contextlib.suppress(OSError):  # the caller was killed meanwhile
                        self.answer(200, {"ok": True, "result": {"message_id": 1}})

        return Handler

    def count_duplicates(self) -> int:
        return sum(count - 1 for numbers in self.accepted.values() for count in Counter(numbers).values())

    def count_out_of_order(self) -> int:
        firsts = [list(dict.fromkeys(numbers)) for numbers in self.accepted.values()]
        return sum(after < before for order in firsts for before, after in pairwise(order))

    def count_missing(self, count: int, chats: list[str]) -> int:
        return sum(len(set(range(count)) - set(self.accepted.get(chat, []))) for chat in chats)


def queue_message(number: int) -> bool:
    """Write one message to the outbox. Return False if the database is not available."""
    try:
        with transaction.atomic():
            notify(Notice("faults", Severity.WARNING, f"message {number}", "An experiment.", f"faults-{number}"))
    except DatabaseError:
        close_old_connections()
        return False
    return True


# --- Machines with backups -------------------------------------------------------------------------------------------


# The first and last lines of a complete dump.
HEAD = b"--\n-- PostgreSQL database dump\n--\n\n" + b"SET standard_conforming_strings = on;\n" * 2_000
END = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"


def create_due_backup(machine: str, folder: Path, size: int) -> ExpectedBackupJob:
    """Create a due backup job and a deposit of that size, which does not compress."""
    moment = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    long_ago = moment - timedelta(hours=1)
    job = ExpectedBackupJob.objects.create(
        agent_id=machine, database_name="db", company_name="ACME", city=machine, watched_since=long_ago,
        created_at=long_ago, expected_hour_utc=moment.hour, expected_minute_utc=moment.minute,
    )  # fmt: skip
    dump = compress(HEAD + secrets.token_bytes(size) + END, 0)
    for name in ("database", "log"):
        (folder / machine / name).mkdir(parents=True)
    (folder / machine / "database" / "db.sql.gz").write_bytes(dump)
    report = folder / machine / "log" / f"OPERATION_{moment:%Y%m%d_%H%M}_{machine}.json"
    report.write_text(json.dumps(make_report(machine, moment, dump)))
    return job


def make_report(machine: str, moment: datetime, dump: bytes) -> dict[str, Any]:
    steps = {
        "backup_process": {"status": True, "start_time": moment.isoformat(), "size": len(dump)},
        "compress_process": {"status": True, "sha256": sha256(dump).hexdigest(), "size": len(dump)},
        "transfer_process": {"status": True, "error_message": None},
    }
    return {
        "operation_id": "faults", "agent_id": machine, "timestamp": moment.isoformat(), "databases": {"db": steps},
    }  # fmt: skip
