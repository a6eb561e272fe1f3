"""What a few hundred connections can send to a portal, over plain sockets that stay open until the block ends."""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # at runtime it would need Django's settings, which a benchmark makes later
    from portal.tests.helpers.portal_process import Portal

PREPARATION = """
import json
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.shortcuts import resolve_url
from django.test import Client
from django.utils import timezone
from agents.enrolment import issue_agent_token, provision
from backups.models import BackupEntry, ExpectedBackupJob
from beta.models import BetaProgramme

viewer = User.objects.create_user("viewer", is_staff=True)
viewer.user_permissions.add(Permission.objects.get(codename="view_backupentry"))
client = Client()
client.force_login(viewer, "django.contrib.auth.backends.ModelBackend")
job = ExpectedBackupJob.objects.create(agent_id="PC-1", database_name="compta")
moments = dict.fromkeys(("cycle_at", "recorded_at", "changed_at"), timezone.now())
BackupEntry.objects.create(job=job, report_name="a" * 30, **moments)
print(json.dumps({
    "key": BetaProgramme.objects.create(name="beta").public_key,
    "token": issue_agent_token(provision("PC-1", "test"), actor="test"),
    "session": client.cookies[settings.SESSION_COOKIE_NAME].value,
    "sign_in": resolve_url(settings.LOGIN_URL),
}))
"""


class Attack(NamedTuple):
    """So many connections that send something at once, and a little more now and then.

    `statuses` are those of the answers, where it expects any.
    """

    times: int
    sent: bytes
    dripped: bytes = b""
    statuses: frozenset[int] = frozenset()


@dataclass
class Siege:
    """The connections of an attack."""

    attack: Attack
    sockets: list[socket.socket] = field(default_factory=list)

    def go_on(self) -> None:
        if self.attack.dripped:
            for each in self.sockets:
                with contextlib.suppress(OSError):
                    each.send(self.attack.dripped)

    def is_over(self) -> bool:
        """Whether every answer has come."""
        return not self.attack.statuses or len(select.select(self.sockets, [], [], 0)[0]) == len(self.sockets)

    def statuses(self) -> set[int]:
        return {int(each.recv(65536).split()[1]) for each in self.sockets} if self.attack.statuses else set()


@contextmanager
def under(port: int, attack: Attack) -> Iterator[Siege]:
    with ExitStack() as stack:
        siege = Siege(attack)
        for _ in range(attack.times):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            connection.sendall(attack.sent)
            siege.sockets.append(connection)
        yield siege


def answers(port: int, within: float = 1.0) -> bool:
    """Return whether `/healthz` answers a new connection within so many seconds."""
    deadline = time.monotonic() + within
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within) as connection:
            connection.sendall(request("GET", "/healthz"))
            status = connection.recv(65536).partition(b"\r\n")[0]
    except OSError:
        return False
    return status == b"HTTP/1.1 200 OK" and time.monotonic() < deadline


def request(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", length: int | None = None
) -> bytes:
    """A request that may announce a longer body than it has."""
    announced = {"Host": "localhost", "Content-Length": str(len(body) if length is None else length)}
    lines = [f"{name}: {value}" for name, value in (announced | dict(headers or {})).items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


def prepared(portal: Portal) -> dict[str, Attack]:
    """The attacks on a portal, after a programme, a machine and a viewer were made in it."""
    made = portal.manage("shell", "-v0", "-c", PREPARATION)
    assert made.returncode == 0, made.stderr
    return attacks(**json.loads(made.stdout))


def attacks(key: str, token: str, session: str, sign_in: str) -> dict[str, Attack]:
    heartbeat, feedback = "/api/v1/agents/heartbeat", f"/api/v1/beta/feedback?key={key}"
    deposit = "/api/v1/backups/deposits/database/compta.sql.gz"
    bearer = {"Authorization": f"Bearer {token}"}
    csrf = "x" * 32
    form = f"csrfmiddlewaretoken={csrf}&username=nobody&login=nobody&password=wrong".encode()
    cookie = {"Cookie": f"csrftoken={csrf}", "Content-Type": "application/x-www-form-urlencoded"}
    regex = f"/admin/backups/backupentry/?report_name__regex=%5E{'a' * 5}(.%2B)%2B!%24"
    return {
        "combining marks": Attack(
            4,
            request("POST", feedback, {"Content-Encoding": "gzip"}, combining_marks()),
            statuses=frozenset({400, 413, 415}),
        ),
        "dripping heads": Attack(40, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"x"),
        "idle connections": Attack(200, b""),
        "no bodies of nobody": Attack(40, request("POST", heartbeat, length=1000)),
        "no bodies of a machine": Attack(40, request("POST", heartbeat, bearer, length=500_000)),
        "no bodies of large deposits": Attack(
            40, request("PUT", deposit, bearer | {"X-Content-SHA256": "0" * 64}, length=5_000_000)
        ),
        "no bodies of feedback": Attack(40, request("POST", feedback, length=200_000)),
        "no bodies of forms": Attack(40, request("POST", sign_in, cookie, length=2_000_000)),
        "dripping bodies": Attack(40, request("POST", sign_in, cookie, form[:10], len(form)), b"x"),
        "sign-ins": Attack(12, request("POST", sign_in, cookie, form), statuses=frozenset({200, 400, 429})),
        "regular expressions": Attack(
            2, request("GET", regex, {"Cookie": f"sessionid={session}"}), statuses=frozenset({302, 400})
        ),
    }


def combining_marks() -> bytes:
    """Two kilobytes whose normalisation would take minutes."""
    marks = "a" + "\u0301" * 500_000 + "\u0316" * 500_000
    feedback = {"id": str(uuid.uuid4()), "participant": marks, "type": "ux", "nps_score": 5, "comment": "x"}
    return gzip.compress(json.dumps(feedback, ensure_ascii=False).encode(), 9)
