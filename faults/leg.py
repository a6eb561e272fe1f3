"""Run the experiments on one database: `python -m faults.leg DATABASE DIRECTORY [NAME...] [whole]`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import django
from django.core.management import call_command

from faults.__main__ import NAMES
from faults.postgres import postgres
from portal.base.private_files import create_data_directory

# Shared by all processes, since two nodes must be able to read each other's queue.
SHARED = {
    "DJANGO_SETTINGS_MODULE": "portal.tests.supervisor.up.settings",
    "SECRET_KEY": "faults-" * 10,
    "TOKEN_PEPPER": "faults-" * 10,
    "ENCRYPTION_KEY": "faults-" * 10,
    "CONNECTIVITY_PROBES": "",
    "WEB_WORKERS": "1",
    "QUICK_WORKERS": "2",
}


def main(database: str, directory: Path, wanted: list[str]) -> int:
    data = directory / "data"
    for folder in (data, directory / "deposits", directory / "validated"):
        folder.mkdir()
    roots = {"DEPOSITS_ROOT": str(directory / "deposits"), "VALIDATED_ROOT": str(directory / "validated")}
    with ExitStack() as stack:
        server = stack.enter_context(postgres(directory / "postgres")) if database == "postgresql" else None
        url = server.url if server else f"sqlite:///{data}/db.sqlite3"
        os.environ.update(SHARED | roots | {"DATABASE_URL": url, "VIGIE_DATA_DIR": str(data)})
        django.setup()
        create_data_directory()
        call_command("migrate", verbosity=0)
        experiments, stages = map(import_module, ("faults.experiments", "faults.stage"))  # need the settings above
        stage = stack.enter_context(stages.stage(directory, url, server, is_whole="whole" in wanted))
        names = [name for name in NAMES if name in wanted] or NAMES
        figures = [figure for name in names for figure in experiments.EXPERIMENTS[name](stage)]
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
