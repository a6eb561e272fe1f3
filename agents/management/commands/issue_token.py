"""`manage.py issue_token`: prints a new token, alone on stdout and once."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from vigie_client.contract import MACHINE_ID

from agents.enrolment import issue_agent_token, provision
from portal.access.tokens.issuing import issue_token, read_app_name
from portal.api.fields import LineField
from portal.models import ApiToken

ACTOR = "command line"
MAX_SECONDS = 100 * 366 * 86_400
UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_SECONDS:
        raise ArgumentTypeError("a duration such as 90, 15m, 24h or 30d is expected, 100 years at most")
    return timedelta(seconds=seconds)


def parse_line(text: str) -> str:
    try:
        return str(LineField(max_length=128, allow_blank=True).run_validation(text))
    except ValidationError as error:
        raise ArgumentTypeError("one line of at most 128 characters is expected, and no token") from error


def parse_app_name(text: str) -> str:
    try:
        return read_app_name(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def parse_positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ArgumentTypeError("a whole number above 0 is expected")
    return int(text)


class Command(BaseCommand):
    help = "Issues a token and prints it, alone on stdout. You will not be able to see it again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", required=True, choices=ApiToken.Kind.values)
        parser.add_argument(
            "--label", type=parse_line, default="", help="description, shown in the list of tokens and in the audit log"
        )
        parser.add_argument("--user", help="staff: the user whose permissions the token has")
        parser.add_argument(
            "--machine",
            help="agent: the machine that uses the token; an unknown machine is enrolled. "
            "enroll: restricts the token to this machine, which then needs no operator’s approval",
        )
        parser.add_argument(
            "--app",
            action="append",
            default=[],
            type=parse_app_name,
            metavar="NAME",
            help="client: an app_name the token can report for; repeat for several (default: any)",
        )
        parser.add_argument(
            "--max-uses", type=parse_positive, help="enroll: maximum number of enrolments (default: unlimited)"
        )
        parser.add_argument(
            "--expires-in", type=parse_duration, help="90 (seconds), 15m, 24h or 30d (default: does not expire)"
        )
        parser.add_argument(
            "--scope", action="append", default=[], choices=ApiToken.Scope.values, help="enroll: additional permission"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        check_options(options)
        expires_at = timezone.now() + options["expires_in"] if options["expires_in"] else None
        with transaction.atomic():
            if options["kind"] == ApiToken.Kind.AGENT:
                plain = self.agent_token(options["machine"], expires_at=expires_at)
            else:
                plain = self.other_token(options, expires_at=expires_at)
        self.stdout.write(plain)

    def agent_token(self, machine_id: str, expires_at: datetime | None) -> str:
        agent = provision(machine_id, ACTOR)
        if not agent.is_active:
            raise CommandError(f"{machine_id} was uninstalled. Enrol it again instead.")
        return issue_agent_token(agent, actor=ACTOR, expires_at=expires_at)

    def other_token(self, options: dict[str, Any], expires_at: datetime | None) -> str:
        user = None
        if options["user"]:
            user = get_user_model().objects.filter(username=options["user"]).first()
            if user is None:
                raise CommandError(f"No user is called {options['user']}.")
            if not (user.is_active and user.is_staff):
                raise CommandError(
                    f"{options['user']} is not an active user with staff status: the token would not work."
                )
        chosen: dict[str, Any] = {name: options[name] for name in ("kind", "label", "max_uses")}
        machine, apps = options["machine"] or "", list(dict.fromkeys(options["app"]))
        chosen |= {"user": user, "for_machine": machine, "app_names": apps, "scopes": options["scope"]}
        return issue_token(**chosen, actor=ACTOR, expires_at=expires_at)[1]


def check_options(options: dict[str, Any]) -> None:
    """Raise CommandError if an option is missing or belongs to another kind."""
    kind = options["kind"]
    kinds_by_option = {
        "user": ("staff",),
        "machine": ("agent", "enroll"),
        "app": ("client",),
        "max_uses": ("enroll",),
        "scope": ("enroll",),
    }
    for name, kinds in kinds_by_option.items():
        if options[name] and kind not in kinds:
            raise CommandError(f"--{name.replace('_', '-')} is for --kind {' or '.join(kinds)}.")
    for name in ("user", "machine"):
        if kind == kinds_by_option[name][0] and not options[name]:
            raise CommandError(f"--kind {kind} needs --{name}.")
    if options["machine"] and not re.fullmatch(MACHINE_ID, options["machine"]):
        raise CommandError("--machine must be 1 to 128 of A-Z a-z 0-9 . _ : -, beginning with a letter or digit.")
