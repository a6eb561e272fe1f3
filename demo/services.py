"""Services that the portal monitors. Some are fine, others flap, slow down, die and recover, or have old certificates.

They listen on this machine, and a fake Telegram receives the portal's messages.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from demo.certificates import Authority
from demo.forms import read_form
from demo.past import DAY, DAYS, HOUR, Outage, Past, write_history
from demo.telegram import Telegram

PATIENCE_SECONDS = 60.0
INTERVAL = 10
USUAL = {"interval": INTERVAL, "timeout": 5, "retries": 0, "failures_to_open": 2, "successes_to_close": 2}
TOKEN_FIELD = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
# Names of services, by what happens to them or what is shown of them.
DYING, FLAPPING, SLOW, WITH_BADGE, EXPIRED = "Payments", "Partner feed", "Search", "API", "Customer area"
PASTS = {
    "Shop": Past(45.0, (Outage(20 * DAY, 25, "timeout", "headers", "A crawler overloaded it; it is blocked now."),)),
    EXPIRED: Past(60.0),
    DYING: Past(
        80.0,
        (
            Outage(33 * DAY, 190, "connect", "ECONNREFUSED", "The disk of its database was full."),
            Outage(3 * DAY + 5 * HOUR, 47, "status", "502", "A faulty release; rolled back."),
        ),
    ),
    FLAPPING: Past(
        120.0, tuple(Outage(days * DAY + 7 * HOUR, 12 + days, "status", "503") for days in (2, 6, 9, 13, 27))
    ),
    SLOW: Past(150.0),
    WITH_BADGE: Past(12.0),
}


# --- The services ----------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        site = self.server
        time.sleep(site.seconds * random.uniform(0.7, 1.3))  # noqa: S311 - a play, not a secret
        content = json.dumps(site.body).encode()
        self.send_response(site.status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """One service on its own port, whose answer and latency may change at any time."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, seconds: float, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.seconds, self.status = seconds, 200
        self.body = {"status": "ok", "at": datetime.now(UTC).isoformat()}
        self.context = context
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake in the thread of the connection, so that it blocks no other."""
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a client that refuses the certificate closes the connection."""

    def die(self) -> None:
        self.shutdown()
        self.server_close()

    def restarted(self) -> Site:
        return Site(self.seconds, self.context, self.server_port)


@dataclass
class Ports:
    """The ports of the last run, which are used again so that a restart of the demo is no outage."""

    path: Path

    def __post_init__(self) -> None:
        self.known: dict[str, int] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def site(self, name: str, seconds: float, context: ssl.SSLContext | None = None) -> Site:
        with contextlib.suppress(OSError):  # another program uses the port now
            return Site(seconds, context, self.known.get(name, 0))
        return Site(seconds, context)

    def keep(self, sites: Mapping[str, Site]) -> None:
        self.path.write_text(json.dumps({name: site.server_port for name, site in sites.items()}))


class Services:
    """All services and the fake Telegram, which end with the process."""

    def __init__(self, folder: Path) -> None:
        authority, now = Authority(folder), datetime.now(UTC)
        self.telegram = Telegram()
        self.authority_path = authority.path
        expires_soon, expired = now + timedelta(days=9), now - timedelta(minutes=5)
        ports = Ports(folder / "ports.json")
        self.sites = {
            "Shop": ports.site("Shop", 0.03, authority.context("shop", expires_soon)),
            EXPIRED: ports.site(EXPIRED, 0.03, authority.context("area", expired)),
            DYING: ports.site(DYING, 0.05),
            FLAPPING: ports.site(FLAPPING, 0.08),
            SLOW: ports.site(SLOW, 0.1),
            WITH_BADGE: ports.site(WITH_BADGE, 0.005),
        }
        ports.keep(self.sites)
        self.is_dead = False

    def settings(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the settings of the portal. Settings in `given` win.

        By default the portal probes only this machine, and it trusts our authority beside the given ones.
        """
        trusted = [Path(given["SSL_CERT_FILE"]).read_bytes()] if "SSL_CERT_FILE" in given else []
        bundle = self.authority_path.with_name("trusted.pem")
        bundle.write_bytes(b"\n".join([self.authority_path.read_bytes(), *trusted]))
        own = {"CONNECTIVITY_PROBES": f"127.0.0.1:{self.telegram.server_port}"}
        if not any(name.startswith("TELEGRAM_") for name in given):
            own |= self.telegram.settings
        return {name: value for name, value in own.items() if name not in given} | {"SSL_CERT_FILE": str(bundle)}

    def targets(self) -> list[dict[str, Any]]:
        """Return the fields of each target, in the order of PASTS."""
        more: dict[str, dict[str, Any]] = {
            SLOW: {"max_latency_ms": 400},
            WITH_BADGE: {"json_path": "$.status", "json_value": "ok"},
        }
        created = (datetime.now(UTC) - DAYS * DAY).isoformat()
        return [
            {"name": name, "url": self.sites[name].url, "created_at": created, **USUAL, **more.get(name, {})}
            for name in PASTS
        ]

    def kill(self) -> None:
        if not self.is_dead:
            self.sites[DYING].die()
            self.is_dead = True

    def revive(self) -> None:
        """Restart the dead service, which stays dead while another program uses its port."""
        if self.is_dead:
            with contextlib.suppress(OSError):
                self.sites[DYING] = self.sites[DYING].restarted()
                self.is_dead = False

    def flap(self, is_down: bool) -> None:
        self.sites[FLAPPING].status = 503 if is_down else 200

    def slow_down(self, is_slow: bool) -> None:
        self.sites[SLOW].seconds = 0.9 if is_slow else 0.1

    def heal(self) -> None:
        self.revive()
        self.flap(False)
        self.slow_down(False)

    def live(self, rng: random.Random) -> None:
        """Repair everything, then break one service in half of the calls."""
        self.heal()
        troubles: list[Callable[[], None]] = [self.kill, partial(self.flap, True), partial(self.slow_down, True)]
        if rng.random() < 0.5:
            rng.choice(troubles)()


# --- Scenes ----------------------------------------------------------------------------------------------------------


class LoginFailed(Exception):
    """The operator cannot sign in: the password was changed, or the account removed."""


class Operator:
    """An operator who uses the admin with a browser. Raises LoginFailed."""

    def __init__(self, url: str, password: str, name: str = "operator") -> None:
        self.url = url
        self.browser = requests.Session()
        self.submit("/accounts/login/", login=name, password=password, next="/admin/")

    def submit(self, path: str, **fields: object) -> None:
        """Open the page and submit its form."""
        token = TOKEN_FIELD.search(self.read(path))
        if token is None:
            raise RuntimeError(f"there is no form on {path}")
        self.send(path, {"csrfmiddlewaretoken": token[1], **fields})

    def change(self, path: str, **fields: object) -> None:
        """Submit the form with its current values, except for `fields`."""
        self.send(path, {**read_form(self.read(path), next(iter(fields))), **fields})

    def read(self, path: str, **query: str) -> str:
        return self.browser.get(self.url + path, params=query, timeout=30).text

    def send(self, path: str, form: dict[str, object]) -> None:
        answer = self.browser.post(self.url + path, data=form, headers={"Referer": self.url + path}, timeout=30)
        answer.raise_for_status()
        if "/login/" in answer.url:
            raise LoginFailed

    def act(self, incident: int, action: str, **fields: object) -> None:
        self.submit("/admin/monitoring/incident/", action=action, _selected_action=incident, **fields)

    def acknowledge(self, incident: int, comment: str) -> None:
        """Acknowledge the incident with a comment, and take it on."""
        self.act(incident, "acknowledge", comment=comment)
        self.act(incident, "assign_to_me")


def open_incidents(url: str, api: requests.Session) -> dict[str, dict[str, Any]]:
    """Return the open incidents by the name of their target."""
    answer = api.get(f"{url}/api/v1/monitoring/status", timeout=10)
    answer.raise_for_status()
    return {incident["target"]: incident for incident in answer.json()["open_incidents"]}


def play(url: str, services: Services, api: requests.Session, password: str) -> Iterator[str]:
    """Play the scenes and yield a line for each. A repetition goes on with the existing services."""
    badge = write_history(services.targets(), list(PASTS.values()))
    yield f"{len(PASTS)} services are checked every {INTERVAL} seconds and have {DAYS} days of history ({badge})"
    seen = len(services.telegram.received)
    services.kill()
    services.slow_down(True)
    yield f"{DYING} stops responding, {SLOW} becomes slow, and a certificate expired five minutes ago"
    incident = wait(lambda: open_incidents(url, api).get(DYING))
    if incident is None:
        yield "no incident opened; see the log of the portal"
        return
    yield acknowledge_incident(url, password, incident, open_incidents(url, api).get(EXPIRED))
    services.heal()
    closed = wait(lambda: not open_incidents(url, api).keys() & {DYING, SLOW})
    yield f"{DYING} responds again: " + ("its incident is resolved" if closed else "its incident is still open")
    yield from read_messages(services.telegram, seen)


def acknowledge_incident(
    url: str, password: str, incident: dict[str, Any], lasting: dict[str, Any] | None = None
) -> str:
    """Acknowledge the incident and add its root cause. `lasting` is acknowledged too, and stays open."""
    opened = f"an incident opened {format_age(incident['opened_at'])}"
    try:
        operator = Operator(url, password)
        operator.acknowledge(incident["id"], "Restarting it.")
        operator.act(incident["id"], "note_cause", confirmed=1, cause="The demo stopped it.")
        if lasting is not None:
            operator.acknowledge(lasting["id"], "A new certificate is ordered.")
    except LoginFailed:
        return f"{opened}; the operator's password was changed, so it was not acknowledged"
    return f"{opened}, and the operator acknowledged it and added its root cause"


def read_messages(telegram: Telegram, seen: int) -> Iterator[str]:
    """Yield the messages after the first `seen`; none if the portal uses a real bot."""
    if telegram.received:
        wait(lambda: any(f"{DYING} recovered" in text for text in telegram.received[seen:]))
        yield "Telegram received meanwhile:"
        yield from (f"  {text}" for text in telegram.received[seen:])


def format_age(moment: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return f"{max(0, round(seconds))} s ago"


def wait(look: Callable[[], Any]) -> Any:
    """Poll until `look` returns something true, at most PATIENCE_SECONDS. Return its last result."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found
