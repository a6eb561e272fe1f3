"""`make bench`: every benchmark in one run, or those named. Exits 1 where a figure misses its limit."""

from __future__ import annotations

import sys

from bench import backups, beta, calls, fleet, monitoring, probes, rounds, usage
from bench.server import portal

BENCHMARKS = {
    "calls": calls.measure,
    "fleet": fleet.measure,
    "backups": backups.measure,
    "probes": probes.measure,
    "rounds": rounds.measure,
    "monitoring": monitoring.measure,
    "usage": usage.measure,
    "beta": beta.measure,
}


def main() -> int:
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"There is no benchmark called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    with portal() as address:
        figures = [figure for name in chosen for figure in BENCHMARKS[name](address)]
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
