"""`manage.py reset_second_factor`: lets a user who has lost every factor sign in with the password again."""

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from portal import audit
from portal.access.signin import second_factor
from portal.access.signin.sessions import end_sessions


class Command(BaseCommand):
    help = (
        "Removes the authenticator app, passkeys and recovery codes of a user and ends their sessions. "
        "The user can then sign in with the password alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="the username")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"No user is called {options['user']}.", returncode=2)
        with transaction.atomic():
            removed = second_factor.remove_factors(user)
            ended = end_sessions(UserSession.objects.filter(user=user))
            after = {"factors": removed, "sessions": ended}
            audit.record_event("user.second_factor_reset", f"user:{user.get_username()}", after=after)
        self.stdout.write(f"{user.get_username()}: factors removed: {removed}, sessions ended: {ended}.")
