"""Limits on guessing at passwords, second factors and reset mails. An attempt is counted before anything is hashed.

| counter | limit of a window | applies to |
|---|---|---|
| one account | 10, of resets 3 | attempts from strangers |
| one account from one known device or address | 10, of resets 3 | attempts from there, and no other |
| one address | 100 | attempts from strangers, at all accounts together |

A window is a minute, and twice as long after each further limit of failures, up to an hour. A success gives back what
it counted, so simultaneous guesses are all counted before the first of them is hashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from portal import audit
from portal.access.models import FORGOTTEN_AFTER, GuessWindow, GuessWindowQuerySet
from portal.access.signin.devices import known_source
from portal.access.signin.too_many_attempts import TooManyAttempts
from portal.base.addresses import sender_network

Kind = GuessWindow.Kind
LIMITS = {Kind.SIGN_IN: 10, Kind.CODE: 10, Kind.RESET: 3, Kind.ANY: 100}
UNKNOWN_DIGITS = 5  # all names that no user has share a million counters: a flood of names fills no table


@dataclass(frozen=True)
class Counter:
    kind: GuessWindow.Kind
    account: str = ""
    source: str = ""

    def row(self) -> GuessWindowQuerySet:
        found: GuessWindowQuerySet = GuessWindow.objects.filter(**self.key())
        return found

    def key(self) -> dict[str, Any]:
        return {"kind": self.kind, "account": self.account, "source": self.source}

    def claim(self, now: datetime) -> bool:
        """Count one attempt; False where the limit is reached."""
        limit = LIMITS[self.kind]
        if self.row().claim(limit, now):
            return True
        # Long over, also by the clock of another caller.
        over = now - FORGOTTEN_AFTER
        fresh = GuessWindow(**self.key(), window_started_at=over, window_ends_at=over)
        GuessWindow.objects.bulk_create([fresh], ignore_conflicts=True)
        return self.row().claim(limit, now)

    def wait(self, now: datetime) -> int:
        """Return the seconds until the window ends."""
        ends = self.row().values_list("window_ends_at", flat=True).first() or now
        return max(1, round((ends - now).total_seconds()))


@dataclass(frozen=True)
class Attempt:
    """An attempt that was counted as a failure. Call `succeeded` once it is none."""

    counters: Sequence[Counter]

    def succeeded(self) -> None:
        """Uncount it. At a known place a success forgets the earlier failures too."""
        for counter in self.counters:
            if counter.account and counter.source:
                counter.row().delete()
        self.give_back()

    def give_back(self) -> None:
        for counter in self.counters:
            counter.row().give_back()


def count_attempt(
    request: HttpRequest, kind: GuessWindow.Kind, user: AbstractBaseUser | None, name: str = ""
) -> Attempt:
    """Count an attempt at the user, or at the name where there is no such user. Raises TooManyAttempts."""
    now = timezone.now()
    claimed: list[Counter] = []
    for counter in attempt_counters(request, kind, user, name):
        if not counter.claim(now):
            Attempt(claimed).give_back()
            audit.record_refusal(request, "throttled")
            raise TooManyAttempts(counter.wait(now))
        claimed.append(counter)
    return Attempt(claimed)


def attempt_counters(
    request: HttpRequest, kind: GuessWindow.Kind, user: AbstractBaseUser | None, name: str
) -> list[Counter]:
    """Return the counters of an attempt. The address comes first: behind its limit nothing is counted at an account."""
    account = keyed_hash(f"user:{user.pk}") if user else hashed_name(name)
    source = known_source(request, user) if user else ""
    if source:
        return [Counter(kind, account, keyed_hash(source))]
    address = Counter(Kind.ANY, source=sender_network(request.META.get("REMOTE_ADDR", "")))
    return [address, Counter(kind, account)] if user or name else [address]


def hashed_name(name: str) -> str:
    """Return the counter of a name that no user has: of a user it would be found by, in the same spellings."""
    return keyed_hash(f"name:{name.lower() if '@' in name else name}")[:UNKNOWN_DIGITS]


def keyed_hash(text: str) -> str:
    return salted_hmac("vigie.access.throttle", text, algorithm="sha256").hexdigest()
