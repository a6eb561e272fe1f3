"""Measure web servers, each with two processes: gunicorn's own worker, and ours with few and with many threads.

    python -m bench.servers

Any other is measured by its command, in which `{address}` or `{port}` stands for where to listen:

    python -m bench.servers waitress-serve --listen {address} portal.wsgi:application

Rates are of eight connections; then `/healthz` is tried beside senders that are slow.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from bench.calls import create_tokens, heartbeats, repeat, reports
from bench.figures import median
from bench.load import Address, rates_in_turn, request_bytes
from bench.server import SHIPPED, prepared, run_server
from tests.security.attacks import Attack, answers, request, under

CLIENTS, SECONDS, ROUNDS, TRIES = 8, 2.0, 3, 5
OURS = {
    "gthread, 4 threads": [*SHIPPED, "--worker-class", "gthread", "--threads", "4"],
    "our worker, 4 threads": [*SHIPPED, "--threads", "4"],
    "our worker, 16 threads": [*SHIPPED, "--threads", "16"],
}


def main() -> None:
    command_line = sys.argv[1:]
    with prepared():
        machine, app = create_tokens()
        for name, command in {command_line[0]: command_line}.items() if command_line else OURS.items():
            with run_server(command) as address:
                figures = median_rates(address, machine, app)
                rates = ", ".join(f"{call} {figure:.0f}/s" for call, figure in figures.items())
                print(f"{name}: {rates}; answered {count_answered(address, machine)} of {TRIES}", flush=True)


def median_rates(address: Address, machine: str, app: str) -> dict[str, float]:
    """Return the median rate of each call."""
    health = repeat(request_bytes("GET", "/healthz"))
    calls = {"/healthz": (health, 200), "heartbeat": (heartbeats(machine), 200), "report": (reports(app), 201)}
    rounds = rates_in_turn(address, list(calls.values()), ROUNDS, SECONDS, CLIENTS)
    return dict(zip(calls, map(median, zip(*rounds, strict=True)), strict=True))


def count_answered(address: Address, machine: str) -> int:
    """Count requests answered within a second beside 40 slow heads and 20 bodies that never come."""
    bearer = {"Authorization": f"Bearer {machine}"}
    bodies = Attack(20, request("POST", "/api/v1/agents/heartbeat", bearer, length=1000))
    heads = Attack(40, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"x")
    with ExitStack() as stack:
        sieges = [stack.enter_context(under(address.port, attack)) for attack in (heads, bodies)]
        answered = 0
        for _ in range(TRIES):
            for siege in sieges:
                siege.go_on()
            answered += answers(address.port)
    return answered


if __name__ == "__main__":
    main()
