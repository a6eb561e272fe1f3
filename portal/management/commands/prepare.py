"""`manage.py prepare`: set up everything that the portal needs. Safe to repeat, and on several nodes at once."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from portal import audit
from portal.access import roles
from portal.access.accounts.first_password import OPERATOR, delete_outdated_file, generate_first_password
from portal.base.locks import one_at_a_time
from portal.base.private_files import close_private_paths, create_data_directory
from portal.notifications.configuration import synchronise_environment_channels
from portal.notifications.delivery import disable_unusable_channels
from portal.work import schedules


def first_operator() -> str | None:
    """Create the first superuser if there is none, and return its password if it was created now."""
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    if users.filter(username=OPERATOR).exists():
        raise CommandError(
            f"{OPERATOR} exists, but no user is a superuser. Create one with `manage.py createsuperuser`."
        )
    password = generate_first_password()
    with transaction.atomic():
        users.create_superuser(username=OPERATOR, password=password)
        audit.record_event("operator.created", f"user:{OPERATOR}", actor="system")
    return password


def next_step(has_first_password: bool) -> str:
    then = "sign in and change the password" if has_first_password else "sign in"
    up = f"{Path(sys.argv[0]).name} up"
    return f"Next: start the portal with `{up}`, then {then} at {settings.PORTAL_URL}{reverse('admin:index')}"


class Command(BaseCommand):
    help = (
        "Prepares the portal before it starts: migrates the database, collects static files, synchronises roles, "
        "schedules and channels, and creates the first operator. Safe to repeat."
    )

    def execute(self, *args: Any, **options: Any) -> str | None:
        create_data_directory()
        close_private_paths()  # before the system checks, which would name them
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_at_a_time("prepare"):
            call_command("migrate", interactive=False, verbosity=0)
            call_command("collectstatic", interactive=False, verbosity=0)
            roles.synchronise_roles()
            schedules.synchronise_schedules(timezone.now())
            synchronise_environment_channels()
            disable_unusable_channels()
            delete_outdated_file()
            password = first_operator()
        if password:
            self.stdout.write(f"First operator: {OPERATOR}\nPassword:       {password}")
        if options["verbosity"]:
            self.stdout.write(next_step(bool(password)))
