"""Pytest plugin of `tests.legs`: each pytest-xdist worker gets a data directory, the slow ones are started first.

It is named on the command line (`-p tests.workers`), so it is imported before the settings read the environment.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path

import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
USES_DATABASE = {"db", "transactional_db"}

if WORKER:
    os.environ["VIGIE_DATA_DIR"] = str(Path(os.environ["VIGIE_DATA_DIR"]) / WORKER)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--what-databases-differ-in",
        action="store_true",
        help="leave out the tests that use no database, and those marked one_database",
    )


def runs_on_each_database(item: pytest.Item) -> bool:
    """Return whether the outcome may depend on the database."""
    for mark in item.iter_markers():  # that of the test before that of its class or module
        if mark.name in ("one_database", "each_database", "postgresql"):
            return mark.name != "one_database"
    uses_database = not USES_DATABASE.isdisjoint(getattr(item, "fixturenames", ()))
    return uses_database or item.get_closest_marker("django_db") is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--what-databases-differ-in"):
        left_out = [item for item in items if not runs_on_each_database(item)]
        items[:] = [item for item in items if runs_on_each_database(item)]
        config.hook.pytest_deselected(items=left_out)
    if WORKER:
        # A worker takes one file after another. The long ones go first, so that none of them begins at the end.
        sizes = Counter(item.path for item in items)
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in slow, -sizes[item.path], item.path))
    # What is loaded by now stays. The garbage collector need not look at it again and again, nor so often: tests keep
    # little. This saves a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
