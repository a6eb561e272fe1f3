"""Measure what tracking adds to a request: the middleware around a bare view, with and without it, in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bench.figures import Figure, median, percentile, show

ROUNDS, BLOCK = 40, 500
# Each of a server's two workers, answering a thousand requests a second between them.
REQUESTS_PER_SECOND, LIVE_ROUNDS = 500, 6
MICRO = 1e6
Pair = tuple[list[float], list[float]]


def measure() -> Iterator[Figure]:
    """Measure in this process, whose Django is set up."""
    # Imported late: Django's models exist only once the server's settings do.
    from usage.tracking.buffer import buffer  # noqa: PLC0415

    with_it, without = chain(is_tracked=True), chain(is_tracked=False)
    for handler in (with_it, without):
        took(handler, BLOCK)  # warm
    yield queries(with_it)
    start, buffer.start = buffer.start, lambda: None  # type: ignore[method-assign]
    rounds = []
    for _ in range(ROUNDS):
        rounds.append((took(with_it, BLOCK), took(without, BLOCK)))
        buffer.reset()
    yield from median_overhead("tracking adds to a request", rounds)
    buffer.start = start  # type: ignore[method-assign]
    pause = 1 / REQUESTS_PER_SECOND
    rounds = [(took(with_it, BLOCK, pause), took(without, BLOCK, pause)) for _ in range(LIVE_ROUNDS)]
    yield from median_overhead("and while the writer writes", rounds)
    yield show(Figure("records dropped meanwhile", buffer.dropped, 0, False, ""))


def chain(*, is_tracked: bool) -> Any:
    from django.conf import settings  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.test.utils import override_settings  # noqa: PLC0415

    kept = [name for name in settings.MIDDLEWARE if is_tracked or not name.startswith("usage.")]
    with override_settings(MIDDLEWARE=kept):
        return WSGIHandler()


def took(handler: Any, times: int, pause: float = 0) -> list[float]:
    """Microseconds of each of so many requests, sorted."""
    from django.test import RequestFactory  # noqa: PLC0415

    times_taken = []
    for request in [RequestFactory(SERVER_NAME="localhost").get("/bare") for _ in range(times)]:
        begun = time.perf_counter()
        response = handler.get_response(request)
        times_taken.append((time.perf_counter() - begun) * MICRO)
        if response.status_code != 200:
            raise RuntimeError(f"answered {response.status_code}, expected 200")
        time.sleep(pause)
    return sorted(times_taken)


def median_overhead(name: str, rounds: list[Pair]) -> Iterator[Figure]:
    """Return the median of what it adds per round; other load on the machine changes more slowly than rounds."""
    for share, limit in ((0.5, 15), (0.99, 200)):
        pairs = [(percentile(on, share), percentile(off, share)) for on, off in rounds]
        with_it, without = (median(column) for column in zip(*pairs, strict=True))
        note = f"{with_it:.0f} us with it, {without:.0f} us without"
        added = median(on - off for on, off in pairs)
        yield show(Figure(f"{name}, p{share * 100:.0f}", added, limit, False, "us", note))


def queries(handler: Any) -> Figure:
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    with CaptureQueriesContext(connection) as made:
        took(handler, BLOCK)
    return show(Figure("queries on the path of a request", len(made) / BLOCK, 0, False, ""))
