"""Run benchmarks: `make bench`, or `make bench ARGS="calls fleet"`. Exit with 1 where a figure misses its limit.

Each part runs in a process of its own, on a database of its own, so parts may be named in any order.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench import access, beta, calls, fleet, idle, monitoring, pages, probes, rounds, usage
from bench.backups import drills, scans
from bench.figures import Figure
from bench.load import Address
from bench.server import portal

DEFAULT: dict[str, tuple[Callable[[Address], Iterator[Figure]], str]] = {
    "calls": (calls.measure, "heartbeats, reports and batches against a bare view of the same server"),
    "fleet": (fleet.measure, "the list of 100,000 machines"),
    "backups": (scans.measure, "dumps of 1 GiB against openssl, and a scan of 10,000 expected backups"),
    "probes": (probes.measure, "rate, latency and lateness of HTTP checks"),
    "rounds": (rounds.measure, "3,300 targets watched every 10 seconds"),
    "monitoring": (monitoring.measure, "pages and calls of monitoring over a year of rollups"),
    "usage": (partial(usage.measure, runs=usage.RUNS), "tracking, the guardian, and what is read of a million runs"),
    "access": (access.measure, "the costliest anonymous requests, and heartbeats beside guesses at passwords"),
    "beta": (beta.measure, "reports, pages and intake of a beta with 50,000 pieces of feedback"),
}
# Run by name only: the default run stays below 15 minutes.
FULL_SCALE: dict[str, tuple[Callable[[Address], Iterator[Figure]], str]] = {
    "drills": (drills.measure, "restores of 200 MB against psql, pg_restore, mariadb and sqlite3, and small drills"),
    "idle": (idle.measure, "processes, memory, readiness and CPU time of the portal on its defaults"),
    "pages": (partial(pages.measure, scale=1), "each page against Django's own, with ten million runs, and the search"),
    "pages-small": (partial(pages.measure, scale=0.01), "as pages, with a hundredth of the rows"),
    "usage-full": (partial(usage.measure, runs=usage.FULL_RUNS), "as usage, with ten million runs"),
}
PARTS = DEFAULT | FULL_SCALE


def main() -> int:
    options = parse(sys.argv[1:])
    if options.here:
        return measure(options.here)
    codes = [run_apart(name) for name in options.parts or DEFAULT]
    return max(codes)


def parse(arguments: list[str]) -> argparse.Namespace:
    rows = [f"  {name:<12} {about}" for name, (_, about) in DEFAULT.items()]
    rows += [f"  {name:<12} {about}; by name only" for name, (_, about) in FULL_SCALE.items()]
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.epilog = "\n".join(["parts:", *rows])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="the parts to run; without any, all but the full-scale"
    )
    parser.add_argument("--here", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; see --help")
    return options


def run_apart(name: str) -> int:
    """Run one part in a process of its own, and return its exit status."""
    started = time.monotonic()
    print(f"== {name}", flush=True)
    code = subprocess.run([sys.executable, "-m", "bench", "--here", name], check=False).returncode
    print(f"{name} took {time.monotonic() - started:.0f} s")
    return code


def measure(name: str) -> int:
    with portal() as address:
        figures = list(PARTS[name][0](address))
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
