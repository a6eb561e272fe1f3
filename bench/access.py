"""What callers without credentials cost, and heartbeats beside guesses at passwords."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench import calls
from bench.figures import Figure, median, show
from bench.load import Address, Connection, rate, request_bytes
from bench.processes import cpu_of_servers, growth_of_servers
from portal.tests.up.attacks import combining_marks, request

MEBIBYTE = 1024 * 1024
TIMES, MOST_CPU_MS, MOST_MIB = 5, 100, 32
# A guess costs a hash of the password, as slow as Django makes it.
MOST_CPU_OF_A_GUESS_MS = 1500
GUESSERS, PAUSE, SECONDS, ROUNDS = 12, 1.0, 4.0, 3


def measure(address: Address) -> Iterator[Figure]:
    from django.conf import settings  # noqa: PLC0415
    from django.shortcuts import resolve_url  # noqa: PLC0415

    from monitoring.models import BetaProgramme  # noqa: PLC0415

    key, sign_in = BetaProgramme.objects.create(name="bench").public_key, resolve_url(settings.LOGIN_URL)
    for name, sent in requests_of_nobody(key, sign_in).items():
        yield from costs(address, name, sent, MOST_CPU_MS)
    yield from costs(address, "sign-in", guess(sign_in), MOST_CPU_OF_A_GUESS_MS)
    yield from beside_guesses(address, sign_in)
    yield from itertools.islice(calls.measure(address), 2)


# --- One request -----------------------------------------------------------------------------------------------------


def requests_of_nobody(key: str, sign_in: str) -> dict[str, bytes]:
    """The costliest of each kind that needs no credentials."""
    feedback, heartbeat = f"/api/v1/beta/feedback?key={key}", "/api/v1/agents/heartbeat"
    packed = {"Content-Encoding": "gzip"}
    said = {"id": str(uuid.uuid4()), "participant": "bench", "type": "ux", "nps_score": 5}
    chunks = {"Transfer-Encoding": "chunked"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cookie = {"Cookie": "csrftoken=" + "x" * 32}
    headers = {f"X-{number}": "x" * 300 for number in range(95)}
    return {
        "feedback, 8 MiB inflated": request("POST", feedback, packed, gzip.compress(containers("[]", 2_700_000))),
        "feedback, lists": request("POST", feedback, body=containers("[]", 99_000)),
        "feedback, objects": request("POST", feedback, body=containers("{}", 99_000)),
        "feedback, combining marks inflated": request("POST", feedback, packed, combining_marks()),
        "feedback, combining marks": request("POST", feedback, body=comment(said, "\u0301\u0316" * 120_000)),
        "feedback, the longest comment": request("POST", feedback, body=comment(said, "x" * 99_000)),
        "feedback, 250,000 levels": request("POST", feedback, body=b"[" * 250_000),
        "feedback, 40,000 keys": request("POST", feedback, body=json.dumps(dict.fromkeys(range(40000), 0)).encode()),
        "feedback, digits": request("POST", feedback, body=b'{"a": ' + b"1" * 500_000 + b"}"),
        "feedback form, marks": request("POST", f"/feedback/{key}", form, b"comment=" + b"%CC%81%CC%96" * 30_000),
        "sign-in form, a long password": request(
            "POST", sign_in, form | cookie, csrf_form() + b"&login=x&username=x&password=" + b"x" * 2_000_000
        ),
        "sign-in form, 500,000 fields": request("POST", sign_in, form | cookie, csrf_form() + b"&a" * 500_000),
        "refused call, 1-byte chunks": request("POST", heartbeat, chunks).replace(b"Content-Length: 0\r\n", b"")
        + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
        "refused call, a body of 32 MiB": request("POST", heartbeat, body=bytes(32 * MEBIBYTE)),
        "refused call, a token of 8 KiB": request("POST", heartbeat, {"Authorization": "Bearer " + "x" * 8_000}),
        "a head of 30 KiB": request("GET", "/healthz", headers),
        "an address of 4 KiB": request("GET", "/" + "%C3%A9/" * 580),
        "a cookie of 8 KiB": request("GET", "/admin/", {"Cookie": "; ".join(f"c{n}=x" for n in range(1_000))}),
        "the page of the sign-in": request("GET", sign_in),
        "the schema of the API": request("GET", "/api/schema/"),
    }  # fmt: skip


def containers(each: str, count: int) -> bytes:
    return f'{{"a":[{",".join([each] * count)}]}}'.encode()


def comment(said: dict[str, object], text: str) -> bytes:
    return json.dumps(said | {"comment": text}, ensure_ascii=False).encode()


def csrf_form() -> bytes:
    return b"csrfmiddlewaretoken=" + b"x" * 32


def guess(sign_in: str) -> bytes:
    form = csrf_form() + f"&login={uuid.uuid4().hex}&username={uuid.uuid4().hex}&password=wrong".encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": "csrftoken=" + "x" * 32,
        "X-Forwarded-For": ".".join(str(random.randrange(1, 255)) for _ in range(4)),
    }
    return request("POST", sign_in, headers, form)


def costs(address: Address, name: str, sent: bytes, most_cpu_ms: float) -> Iterator[Figure]:
    """The median of a few, each over a connection of its own."""
    status = answered(address, sent)  # warm
    cpu, grown = [], growth_of_servers()
    for _ in range(TIMES):
        before = cpu_of_servers()
        answered(address, sent)
        cpu.append(1000 * (cpu_of_servers() - before))
    memory = grown() / MEBIBYTE
    yield show(Figure(f"CPU of {name}", median(cpu), most_cpu_ms, False, "ms", f"answered {status}"))
    yield show(Figure(f"memory of {name}", memory, MOST_MIB, False, "MiB"))


def answered(address: Address, sent: bytes) -> int:
    """The status of the answer, read to the end of the connection. A sender may be cut off in the middle."""
    with socket.create_connection((address.host, address.port), timeout=60) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = connection.recv(65536)
        while connection.recv(65536):
            pass
    return int(answer.split()[1])


# --- Guesses ---------------------------------------------------------------------------------------------------------


def beside_guesses(address: Address, sign_in: str) -> Iterator[Figure]:
    from agents.enrolment import issue_agent_token, provision  # noqa: PLC0415

    machine = issue_agent_token(provision("PC-0", "bench"), actor="bench")

    def heartbeats(_: int) -> Iterator[bytes]:
        return itertools.repeat(request_bytes("POST", "/api/v1/agents/heartbeat", machine, {"version": ""}))

    def beats() -> float:
        return rate(address, heartbeats, seconds=SECONDS, expected=200)

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
            statuses.append(connection.send(guess(sign_in)))

    threads = [threading.Thread(target=guess_on) for _ in range(GUESSERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
