"""Checks of targets: how many a second, how true their latencies, how late, and beside a thousand that are dead.

The targets are one server in a process of its own: it answers after a while that the path says, and can tell how long
it really took.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from bench.figures import Figure, median, percentile, show
from bench.load import Address
from monitoring.probe.pool import FinishedProbe, Prober
from monitoring.probe.spec import Spec

SECONDS, CONCURRENT = 10.0, 64
# So many in flight of 0.3 s each are 330 checks a second: the rate asked for. Of 0.1 s each, they would be a thousand,
# which two cores do not do beside their server, and what is measured is a queue.
IN_FLIGHT, DELAY, DELAYED_ROUNDS = 100, 0.3, 10
TARGETS, INTERVAL, ROUNDS = 200, 5.0, 3
DEAD, WELL, LONG_INTERVAL, DEAD_TIMEOUT = 1_000, 50, 30.0, 10.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, taken: list[float]) -> None:
    """`/` at once, `/slow` after DELAY, `/dead` never, `/taken` how many ms each of the slow ones took."""
    try:
        begun = time.perf_counter()
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if path == b"/dead":
            await reader.read()
        elif path == b"/slow":
            await asyncio.sleep(DELAY)
        if path != b"/dead":
            writer.write(ANSWER)
            await writer.drain()
            if path == b"/slow":
                taken.append((time.perf_counter() - begun) * 1000)
    except (OSError, asyncio.IncompleteReadError):
        pass  # a prober that hangs up at its deadline is nothing to report
    finally:
        writer.close()


def serve(pipe: Connection) -> None:
    """Serve until the pipe receives something, then report how long the slow answers took."""
    allow_many_files()
    taken: list[float] = []

    async def serving() -> None:
        server = await asyncio.start_server(lambda r, w: answer(r, w, taken), "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        pipe.send(taken)

    asyncio.run(serving())


def allow_many_files() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Targets:
    def __init__(self, port: int, pipe: Connection) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.pipe = pipe

    def spec(self, path: str = "", timeout: float = 10.0) -> Spec:
        return Spec(f"{self.base}/{path}", timeout=timeout)

    def taken(self) -> list[float]:
        """Milliseconds of each slow answer, sorted. Ends the server."""
        self.pipe.send(None)
        return sorted(self.pipe.recv())


@contextmanager
def targets() -> Iterator[Targets]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield Targets(ours.recv(), ours)
    finally:
        server.terminate()
        server.join()


def measure(_address: Address) -> Iterator[Figure]:
    allow_many_files()
    yield show(rate())
    yield show(truth())
    yield show(lateness())
    yield show(beside_the_dead())


def held(probes: list[FinishedProbe]) -> list[FinishedProbe]:
    """Raises RuntimeError where one failed: a refusal is quick, and would pass for a good check."""
    for probe in probes:
        if not probe.outcome.is_ok:
            raise RuntimeError(f"a check failed: {probe.outcome}")
    return probes


def kept_in_flight(prober: Prober, spec: Spec, count: int, until: Any) -> list[FinishedProbe]:
    """Checks without a pause, so many at a time, until `until` says so of those that have ended."""
    finished: list[FinishedProbe] = []
    for key in range(count):
        prober.submit(key, spec, time.monotonic())
    while prober.in_flight:
        for probe in prober.finished(1.0):
            finished.append(probe)
            if not until(finished):
                prober.submit(probe.key, spec, time.monotonic())
    return held(finished)


def rate() -> Figure:
    with targets() as there, Prober() as prober:
        kept_in_flight(prober, there.spec(), CONCURRENT, lambda probes: len(probes) > 200)  # warm
        begun, processor = time.monotonic(), time.process_time()
        probes = kept_in_flight(prober, there.spec(), CONCURRENT, lambda _probes: time.monotonic() > begun + SECONDS)
        took = time.monotonic() - begun
    microseconds = (time.process_time() - processor) / len(probes) * 1e6
    note = f"{microseconds:.0f} us of CPU each"
    return Figure(f"HTTP checks a second, {SECONDS:.0f} s on end", len(probes) / took, 300, True, "/s", note)


def truth() -> Figure:
    with targets() as there, Prober() as prober:
        specs = {number: there.spec("slow") for number in range(2 * IN_FLIGHT)}
        probes = held(paced(prober, specs, 2 * DELAY, DELAYED_ROUNDS, set()))
        real = percentile(there.taken(), 0.5)
    latency = median(probe.outcome.latency_ms or 0 for probe in probes)
    note = f"told {latency:.1f} ms, took {real:.1f} ms"
    return Figure(f"latency told / taken, p50 of {IN_FLIGHT} in flight", latency / real, 1.1, False, "x", note)


def paced(
    prober: Prober, specs: dict[Any, Spec], interval: float, rounds: int, suspects: set[Any]
) -> list[FinishedProbe]:
    """Each target once in every interval, at a phase of its own, as a watch does it."""
    begun = time.monotonic() + 0.5
    due = {key: begun + interval * number / len(specs) for number, key in enumerate(specs)}
    last = {key: first + interval * (rounds - 1) for key, first in due.items()}
    finished: list[FinishedProbe] = []
    for key, spec in specs.items():
        prober.submit(key, spec, due[key], is_suspect=key in suspects)
    while prober.in_flight:
        for probe in prober.finished(1.0):
            finished.append(probe)
            following = probe.due + interval
            if following <= last[probe.key] + interval / 2:
                prober.submit(probe.key, specs[probe.key], following, is_suspect=probe.key in suspects)
    return finished


def latenesses(probes: list[FinishedProbe]) -> list[float]:
    """Milliseconds from the moment when a check was due to its start, sorted."""
    return sorted((probe.started - probe.due) * 1000 for probe in probes)


def lateness() -> Figure:
    with targets() as there, Prober() as prober:
        specs = {number: there.spec() for number in range(TARGETS)}
        late = latenesses(held(paced(prober, specs, INTERVAL, ROUNDS, set())))
    note = f"p50 {percentile(late, 0.5):.1f} ms, worst {late[-1]:.1f} ms"
    name = f"lateness of {TARGETS} targets every {INTERVAL:.0f} s, p99"
    return Figure(name, percentile(late, 0.99), 50, False, "ms", note)


def beside_the_dead() -> Figure:
    """Half of the dead are known to be, and half were well until now."""
    with targets() as there, Prober() as prober:
        dead: dict[Any, Spec] = {("dead", number): there.spec("dead", DEAD_TIMEOUT) for number in range(DEAD)}
        well: dict[Any, Spec] = {("well", number): there.spec() for number in range(WELL)}
        every = DEAD // WELL
        keys = [key for n, each in enumerate(well) for key in (each, *list(dead)[n * every : (n + 1) * every])]
        suspects = {key for key in dead if key[1] % 2}
        probes = paced(prober, {key: (dead | well)[key] for key in keys}, LONG_INTERVAL, 2, suspects)
    late = latenesses(held([probe for probe in probes if probe.key[0] == "well"]))
    timeouts = sum(probe.outcome.error_kind == "timeout" for probe in probes)
    if timeouts != 2 * DEAD:
        raise RuntimeError(f"{timeouts} of {2 * DEAD} checks of the dead ended by their timeout")
    note = f"p50 {percentile(late, 0.5):.1f} ms"
    return Figure(f"worst lateness of {WELL} beside {DEAD} dead", late[-1] / 1000, 1, False, "s", note)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    list(measure(Address("", 0)))
