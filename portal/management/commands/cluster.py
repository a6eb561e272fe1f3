"""`manage.py cluster quick`: the workers of one cluster. `manage.py up` runs both."""

from argparse import SUPPRESS
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.supervisor.cluster import Main
from portal.supervisor.watchdog import PATIENCE
from portal.work.clusters import CLUSTERS


class Command(BaseCommand):
    help = "Runs the background workers of one cluster: quick (short tasks) or slow (long tasks)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", choices=CLUSTERS)
        parser.add_argument("--patience", type=float, default=PATIENCE.total_seconds(), help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        Main(options["name"], timedelta(seconds=options["patience"])).run()
