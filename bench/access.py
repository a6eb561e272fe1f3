"""Measure the cost of anonymous requests, and of heartbeats beside password guessing."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench import calls, worst
from bench.figures import Figure, median, show
from bench.load import Address, Connection, rate
from bench.processes import cpu_of_servers, growth_of_servers
from tests.security.attacks import request

TIMES, MOST_CPU_MS, MOST_MIB = 3, 100, 32
# A guess costs a hash of the password, as slow as Django makes it.
MOST_CPU_OF_A_GUESS_MS = 1500
CSRF, FORM = "x" * 32, {"Content-Type": worst.FORM}
GUESSERS, PAUSE, SECONDS, ROUNDS = 12, 1.0, 4.0, 3


def measure(address: Address) -> Iterator[Figure]:
    from django.conf import settings  # noqa: PLC0415
    from django.shortcuts import resolve_url  # noqa: PLC0415

    from beta.models import BetaProgramme  # noqa: PLC0415

    key, sign_in = BetaProgramme.objects.create(name="bench").public_key, resolve_url(settings.LOGIN_URL)
    rows = [*worst.of_nobody(key), *worst.by_key(key)]
    for name, sent in ({row.name: plain(row) for row in rows} | refused_requests(sign_in)).items():
        yield from request_cost(address, name, sent, MOST_CPU_MS)
    yield from request_cost(address, "sign-in", guess_bytes(sign_in), MOST_CPU_OF_A_GUESS_MS)
    yield from beside_guesses(address, sign_in)
    yield from itertools.islice(calls.measure(address), 2)


# --- One request -----------------------------------------------------------------------------------------------------


def refused_requests(sign_in: str) -> dict[str, bytes]:
    """Return requests that are refused by the web server, and cost it more than the view."""
    heartbeat = "/api/v1/agents/heartbeat"
    form = FORM | {"Cookie": f"csrftoken={CSRF}"}
    chunked = request("POST", heartbeat, {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    return {
        "refused call, 1-byte chunks": chunked + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
        "refused call, a body of 32 MiB": request("POST", heartbeat, body=bytes(32 * worst.MIB)),
        "refused call, a token of 8 KiB": request("POST", heartbeat, {"Authorization": "Bearer " + "x" * 8_000}),
        "sign-in, a password of 2 MB": request("POST", sign_in, form, guessed(b"x" * 2_000_000)),
        "sign-in, 500,000 fields": request("POST", sign_in, form, guessed(b"x" + b"&a" * 500_000)),
        "a head of 30 KiB": request("GET", "/healthz", {f"X-{number}": "x" * 300 for number in range(95)}),
        "an address of 4 KiB": request("GET", "/" + "%C3%A9/" * 580),
        "the page of the sign-in": request("GET", sign_in),
    }


def plain(row: worst.Request) -> bytes:
    return request(row.method, row.path, {"Content-Type": row.content_type} | row.headers, row.body)


def guessed(password: bytes) -> bytes:
    names = f"csrfmiddlewaretoken={CSRF}&login={uuid.uuid4().hex}&password=".encode()
    return names + password


def guess_bytes(sign_in: str) -> bytes:
    """Return a sign-in with a wrong password, of a new user from a new address."""
    address = ".".join(str(random.randrange(1, 255)) for _ in range(4))
    headers = FORM | {"Cookie": f"csrftoken={CSRF}", "X-Forwarded-For": address}
    return request("POST", sign_in, headers, guessed(b"wrong"))


def request_cost(address: Address, name: str, sent: bytes, most_cpu_ms: float) -> Iterator[Figure]:
    """Yield the CPU that the request costs the servers, the median of a few, and the memory."""
    status = read_status(address, sent)  # warm
    cpu, grown = [], growth_of_servers()
    for _ in range(TIMES):
        before = cpu_of_servers()
        read_status(address, sent)
        cpu.append(1000 * (cpu_of_servers() - before))
    memory = grown() / worst.MIB
    yield show(Figure(f"CPU of {name}", median(cpu), most_cpu_ms, False, "ms", f"answered {status}"))
    yield show(Figure(f"memory of {name}", memory, MOST_MIB, False, "MiB"))


def read_status(address: Address, sent: bytes) -> int:
    """Return the status of the answer, read to the end. The server may close the connection while we send."""
    with socket.create_connection((address.host, address.port), timeout=60) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = connection.recv(65536)
        while connection.recv(65536):
            pass
    return int(answer.split()[1])


# --- Guesses ---------------------------------------------------------------------------------------------------------


def beside_guesses(address: Address, sign_in: str) -> Iterator[Figure]:
    source = calls.heartbeats(calls.create_tokens()[0])

    def beats() -> float:
        return rate(address, source, seconds=SECONDS, expected=200)

    beats()  # warm
    ratios, guessed = [], 0
    for _ in range(ROUNDS):
        alone = beats()
        with guessing(address, sign_in) as statuses:
            ratios.append(beats() / alone)
        guessed += statuses.count(200)
    note = f"{guessed / SECONDS / ROUNDS:.1f} passwords hashed/s, heartbeats alone {alone:.0f}/s"
    yield show(Figure("heartbeats beside guesses / alone", median(ratios), 0.8, True, "x", note))


@contextmanager
def guessing(address: Address, sign_in: str) -> Iterator[list[int]]:
    """Guess at passwords from many addresses at many accounts until the block ends; the statuses of the answers."""
    statuses: list[int] = []
    is_over = threading.Event()

    def guess_on() -> None:
        connection = Connection(address)
        while not is_over.wait(PAUSE):
            statuses.append(connection.send(guess_bytes(sign_in)))

    threads = [threading.Thread(target=guess_on) for _ in range(GUESSERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
