"""A load from plain sockets: as little work per request as Python allows, so that the server is what is measured."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.figures import Figure, percentile, show

REQUESTS_PER_CONNECTION = 200
# The requests of each client, by its number.
Source = Callable[[int], Iterator[bytes]]


@dataclass(frozen=True)
class Address:
    host: str
    port: int


def request_bytes(method: str, path: str, token: str = "", body: object = None) -> bytes:
    payload = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(payload)}\r\n"
    head += "Content-Type: application/json\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + payload


class Connection:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.left = 0

    def send(self, request: bytes) -> int:
        """The status of the answer, which is read to its end."""
        if self.left == 0:
            self.socket = socket.create_connection((self.address.host, self.address.port), timeout=60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.left = REQUESTS_PER_CONNECTION
        self.left -= 1
        self.socket.sendall(request)
        answer = self.socket.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        received = len(body)
        while received < length:
            received += len(self.socket.recv(65536))
        if self.left == 0 or b"connection: close" in lowered:
            self.socket.close()
            self.left = 0
        return int(head[9:12])


def rate(address: Address, requests: Source, *, seconds: float, expected: int, clients: int = 4) -> float:
    """Requests a second that `clients` connections get answered; each draws from an iterator of its own.

    Raises RuntimeError at an answer with another status: a refusal is quick, and would pass for a fast call.
    """
    counts, wrong = [0] * clients, []
    start = threading.Barrier(clients + 1)
    deadline = [0.0]

    def work(number: int) -> None:
        connection, source = Connection(address), requests(number)
        start.wait()
        for request in source:
            if time.perf_counter() >= deadline[0]:
                return
            status = connection.send(request)
            if status != expected:
                wrong.append(status)
                return
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    begun = time.perf_counter()
    deadline[0] = begun + seconds
    start.wait()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(f"answered {wrong[0]}, expected {expected}")
    return sum(counts) / (time.perf_counter() - begun)


def rates_in_turn(
    address: Address, calls: Sequence[tuple[Source, int]], rounds: int, seconds: float, clients: int = 4
) -> list[list[float]]:
    """Warm up, then return rounds of the rate of each call in turn; a call is its requests and the expected status."""
    for source, status in calls:
        rate(address, source, seconds=1, expected=status, clients=clients)
    return [
        [rate(address, source, seconds=seconds, expected=status, clients=clients) for source, status in calls]
        for _ in range(rounds)
    ]


def latency_figure(address: Address, name: str, request: bytes, calls: int, limit: float, note: str = "") -> Figure:
    """Show the 95th percentile of the request's latency, with the median beside it."""
    times = latencies(address, iter([request] * calls))
    note = f"p50 {percentile(times, 0.5):.1f} ms, {note}".rstrip(", ")
    return show(Figure(name, percentile(times, 0.95), limit, False, "ms", note))


def latencies(address: Address, requests: Iterator[bytes]) -> list[float]:
    """Milliseconds of each request, one after the other, sorted."""
    connection, found = Connection(address), []
    for request in requests:
        begun = time.perf_counter()
        status = connection.send(request)
        found.append((time.perf_counter() - begun) * 1000)
        if status != 200:
            raise RuntimeError(f"answered {status}, expected 200")
    return sorted(found)
