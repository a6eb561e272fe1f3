"""Measure web servers, each with two processes: gunicorn's own worker, and ours with few and with many threads.

    python -m bench.servers

Any other is measured by its command, in which `{address}` or `{port}` stands for where to listen:

    python -m bench.servers waitress-serve --listen {address} portal.wsgi:application

Rates are of eight connections; then `/healthz` is tried beside senders that are slow.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from bench.calls import run
from bench.figures import median
from bench.load import Address, rate, request_bytes
from bench.server import SHIPPED, prepared, run_server
from portal.tests.supervisor.up.attacks import Attack, answers, request, under

CLIENTS, SECONDS, ROUNDS, TRIES = 8, 2.0, 3, 5
OURS = {
    "gthread, 4 threads": [*SHIPPED, "--worker-class", "gthread", "--threads", "4"],
    "our worker, 4 threads": [*SHIPPED, "--threads", "4"],
    "our worker, 16 threads": [*SHIPPED, "--threads", "16"],
}


def main() -> None:
    given = sys.argv[1:]
    with prepared():
        machine, app = create_tokens()
        for name, command in {given[0]: given}.items() if given else OURS.items():
            with run_server(command) as address:
                figures = median_rates(address, machine, app)
                told = ", ".join(f"{call} {figure:.0f}/s" for call, figure in figures.items())
                sys.stdout.write(f"{name}: {told}; answered {count_answered(address, machine)} of {TRIES}\n")
                sys.stdout.flush()


def create_tokens() -> tuple[str, str]:
    """The token of a machine and the token of an application."""
    from agents.enrolment import issue_agent_token, provision  # noqa: PLC0415
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    machine = issue_agent_token(provision("PC-1", "bench"), actor="bench")
    return machine, issue_token("client", label="bench", actor="bench")[1]


def median_rates(address: Address, machine: str, app: str) -> dict[str, float]:
    """The median rate of each call."""

    def health(_: int) -> Iterator[bytes]:
        return itertools.repeat(request_bytes("GET", "/healthz"))

    def heartbeats(_: int) -> Iterator[bytes]:
        return itertools.repeat(request_bytes("POST", "/api/v1/agents/heartbeat", machine, {"version": ""}))

    def reports(_: int) -> Iterator[bytes]:
        return (request_bytes("POST", "/api/v1/usage/report", app, run()) for _ in itertools.count())

    calls = {"/healthz": (health, 200), "heartbeat": (heartbeats, 200), "report": (reports, 201)}
    for source, status in calls.values():
        rate(address, source, seconds=1, expected=status, clients=CLIENTS)  # warm
    rounds = [
        [rate(address, source, seconds=SECONDS, expected=status, clients=CLIENTS) for source, status in calls.values()]
        for _ in range(ROUNDS)
    ]
    return dict(zip(calls, map(median, zip(*rounds, strict=True)), strict=True))


def count_answered(address: Address, machine: str) -> int:
    """Count requests answered within a second beside 40 slow heads and 20 bodies that never come."""
    bearer = {"Authorization": f"Bearer {machine}"}
    bodies = Attack(20, request("POST", "/api/v1/agents/heartbeat", bearer, length=1000))
    heads = Attack(40, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"x")
    with ExitStack() as stack:
        sieges = [stack.enter_context(under(address.port, attack)) for attack in (heads, bodies)]
        found = 0
        for _ in range(TRIES):
            for siege in sieges:
                siege.go_on()
            found += answers(address.port)
    return found


if __name__ == "__main__":
    main()
