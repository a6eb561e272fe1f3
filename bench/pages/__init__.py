"""Lists and pages of the admin against Django's own of the same rows, the search, and the weight of the landing page.

Each list is measured against Django's of as many columns and rows, each page of a row against Django's form of that
row. Pages of programmes, targets, expected backups, licences, machines and saved reports show a report, charts, tables
beside their form, for which Django has no equal: they are measured whole, and the form alone by the page that adds a
row. Both servers are warm. What the portal keeps for seconds, the findings of the landing page and the report of a
programme, is then kept, as it is for browsers that poll these pages; a first request after each action makes it anew.

Trigram indexes need PostgreSQL's pg_trgm, which Debian's server has (`apt install postgresql`). Without it, or an empty
database of a server that has it in BENCH_DATABASE_URL, searches are measured as they are without trigram indexes.
"""

from __future__ import annotations

import gzip
import http.client
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import beta
from bench.figures import Figure, median, percentile, show
from bench.load import Address, latencies, latency_figure, request_bytes
from bench.monitoring import page_bytes
from bench.pages.rows import create_rows
from bench.server import SHIPPED, run_server, settings_module, sign_in_operator

PAIRS, WARM, CALLS = 20, 4, 60
# Django's list of ten million rows takes a second: it is compared in fewer pairs.
FEWEST_PAIRS, SECONDS_OF_PAIRS = 5, 5
LIST_LIMIT, LANDING_LIMIT, SEARCH_LIMIT_MS, SEARCH_RATIO = 1.5, 2.0, 100, 3.0
COLD_KB, WARM_KB = 150, 30
# Of machine 7 of 100,000, of a city of a fifth of them, of all, and of none.
FRAGMENTS = ("LYON-000007", "lyon", "pc-", "nowhere")
# Pages that show more than a form, of rows that people add.
WITH_MORE = ("beta.betaprogramme", "monitoring.target", "backups.expectedbackupjob", "usage.licence")


@dataclass(frozen=True)
class Sides:
    """The portal and the peer, on one database with one session."""

    ours: Address
    stock: Address
    session: str

    def request(self, path: str) -> bytes:
        return page_bytes(path, self.session)

    def ratio(self, name: str, path: str, peer: str, limit: float) -> Figure:
        """Ask both in turn, so that the machine's other work falls on both."""
        times: tuple[list[float], list[float]] = ([], [])
        begun = time.perf_counter()
        for number in range(WARM + PAIRS):
            if number >= WARM + FEWEST_PAIRS and time.perf_counter() - begun > SECONDS_OF_PAIRS:
                break
            for side, address, url in ((0, self.ours, path), (1, self.stock, peer)):
                took = latencies(address, iter([self.request(url)]))[0]
                if number >= WARM:
                    times[side].append(took)
        ours, stock = median(times[0]), median(times[1])
        note = f"{ours:.1f} ms, stock {stock:.1f} ms"
        return show(Figure(f"{name} / stock", ours / stock, limit, False, "", note))


def measure(address: Address, scale: float) -> Iterator[Figure]:
    create_rows(scale)
    token, session = sign_in_operator("pages")
    with settings_module("bench.pages.stock"), run_server(SHIPPED) as stock:
        sides = Sides(address, stock, session)
        yield from listed(sides)
        yield sides.ratio("the landing page", "/admin/", "/admin/", LANDING_LIMIT)
        yield from searched(sides)
    yield from weights(address, session)
    request = request_bytes("GET", f"/api/v1/beta/report?programme={beta.PROGRAMME}&format=xlsx", token)
    latencies(address, iter([request] * WARM))  # the first one of a process imports openpyxl
    yield latency_figure(address, "XLSX of the beta report, p95", request, 10, 500)


def listed(sides: Sides) -> Iterator[Figure]:
    """Measure each list and the page of its newest row."""
    from django.contrib import admin  # noqa: PLC0415

    for model in admin.site._registry:
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield sides.ratio(f"list of {model._meta.verbose_name_plural}", path, path, LIST_LIMIT)
        newest: Any = model._default_manager.order_by("-pk").first()
        page = f"{path}{newest.pk}/change/"
        yield sides.ratio(f"page of {model._meta.verbose_name}", page, page, LIST_LIMIT)
        if model._meta.label_lower in WITH_MORE:
            yield sides.ratio(f"form of {model._meta.verbose_name}", f"{path}add/", f"{path}add/", LIST_LIMIT)


def searched(sides: Sides) -> Iterator[Figure]:
    """Measure the search and the largest lists by fragment, against Django's list of one machine by its exact name."""
    exact = sides.request("/admin/agents/agent/?name__exact=pc-lyon-000007")
    latencies(sides.stock, iter([exact] * WARM))
    base = percentile(latencies(sides.stock, iter([exact] * CALLS)), 0.95)
    print(f"Django's list of one machine by its exact name, p95: {base:.1f} ms")
    paths = {
        "everything": "/admin/search/?q={}",
        "machines": "/admin/agents/agent/?q={}",
        "runs": "/admin/usage/run/?q={}",
        "feedback": "/admin/beta/betafeedback/?q={}",
    }
    for name, path in paths.items():
        for text in FRAGMENTS:
            request = sides.request(path.format(text))
            if name == "everything":  # as the box on every page asks
                request = request.removesuffix(b"\r\n") + b"HX-Request: true\r\n\r\n"
            latencies(sides.ours, iter([request] * WARM))
            found = latency_figure(sides.ours, f"search of {name} for {text!r}, p95", request, CALLS, SEARCH_LIMIT_MS)
            yield found
            yield show(Figure("… / exact look-up", found.value / base, SEARCH_RATIO, False))


def weights(address: Address, session: str) -> Iterator[Figure]:
    """Measure what a browser receives for the landing page, with an empty cache and with the static files in it."""
    page = body_of(address, "/admin/", session)
    text = gzip.decompress(page).decode() if page[:2] == b"\x1f\x8b" else page.decode()
    files = set(re.findall(r"""(?:src|href)="(/static/[^"]+)\"""", text))
    files |= {
        f"{path.rpartition('/')[0]}/{name}"
        for path in files
        if path.endswith(".css")
        for name in re.findall(r'@import url\("?([^")]+)', body_text(address, path, session))
    }
    static = sum(len(compressed(body_of(address, path, session))) for path in files)
    yield show(Figure("landing page, cold", (len(page) + static) / 1000, COLD_KB, False, "kB", f"{len(files)} files"))
    yield show(Figure("landing page, warm", len(page) / 1000, WARM_KB, False, "kB"))


def compressed(body: bytes) -> bytes:
    """Return a static file as the portal sends it: its `collectstatic` compresses, that of the benchmark does not."""
    return min(body, gzip.compress(body), key=len)


def body_of(address: Address, path: str, session: str) -> bytes:
    """Return the body as it is sent: compressed where the server compresses it."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    headers = {"Accept-Encoding": "gzip", "Cookie": f"sessionid={session}", "Host": "localhost"}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}, expected 200")
    return body


def body_text(address: Address, path: str, session: str) -> str:
    body = body_of(address, path, session)
    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
