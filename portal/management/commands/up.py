"""`manage.py up`: the whole portal on this machine, until SIGTERM or Ctrl-C."""

import logging
import socket
import sys
from argparse import SUPPRESS
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import override

from portal.base.conventions import CONVENTIONS
from portal.base.env import host_of
from portal.base.private_files import close_private_paths, create_data_directory
from portal.notifications.configuration import synchronise_environment_channels
from portal.status.health import unapplied_migrations
from portal.supervisor import database, lifeline
from portal.supervisor.components import list_components, open_listener
from portal.supervisor.supervisor import Supervisor
from portal.supervisor.watchdog import PATIENCE

log = logging.getLogger("vigie.up")


def refuse_unready() -> None:
    """Raises CommandError with the sentence that says what has to be done first. Waits for a database that is away."""
    if not database.wait_for_database(lifeline.is_broken):
        sys.exit(0)
    missing = unapplied_migrations()
    connections.close_all()
    if missing:
        raise CommandError(f"{len(missing)} migrations have not been applied: run `manage.py prepare` first.")


def load_shared_code() -> None:
    """Load what each of the forked processes would load, so that they share it."""
    import_module("portal.wsgi")
    autodiscover_modules(*CONVENTIONS)
    for language, _name in settings.LANGUAGES:
        with override(language):  # reads its catalogue
            pass


def listen_or_refuse(bind: str) -> socket.socket:
    try:
        return open_listener(bind)
    except ValueError as error:
        raise CommandError(f"--bind: {error}.") from error
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise CommandError(f"Nothing can listen on {bind}: {reason}.") from error


class Command(BaseCommand):
    help = (
        "Runs the whole portal until Ctrl-C or SIGTERM: web server, background workers and the pulse that enqueues due "
        "jobs. Restarts each of them when it ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bind", default="127.0.0.1:8000", metavar="HOST:PORT", help="address to listen on (default: %(default)s)"
        )
        grace, patience = settings.STOP_GRACE_SECONDS, PATIENCE.total_seconds()
        parser.add_argument(
            "--grace", type=float, default=grace, help="seconds that running tasks get to finish (default: %(default)s)"
        )
        parser.add_argument("--patience", type=float, default=patience, help=SUPPRESS)

    def execute(self, *args: Any, **options: Any) -> str | None:
        create_data_directory()
        close_private_paths()  # before the system checks, which would name them
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unready()
        synchronise_environment_channels()
        connections.close_all()
        if not settings.DEBUG and not (settings.STATIC_ROOT / "staticfiles.json").exists():
            # Migrated and never prepared: the API would answer, and every page fail for want of its stylesheet.
            call_command("collectstatic", interactive=False, verbosity=0)
        bind = options["bind"]
        listening = listen_or_refuse(bind)
        if not settings.PORTAL_URL_IS_GIVEN:
            settings.PORTAL_URL = f"http://{bind.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - recognised, not bound
            settings.ALLOWED_HOSTS.append(host_of(settings.PORTAL_URL))
        load_shared_code()
        log.info("the portal listens on http://%s", bind)
        with listening:
            patience = timedelta(seconds=options["patience"])
            sys.exit(Supervisor(list_components(listening, patience), options["grace"]).run())
