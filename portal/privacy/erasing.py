"""Erasing and exporting: all that is held of a subject, wherever it is held."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from portal import audit
from portal.models import JobRun
from portal.privacy.registry import PersonalDataSource, Row, personal_data
from portal.privacy.subjects import Subject, users_of
from portal.work.jobs import Lease, claim_cycle

JOB = "privacy.erase"
ACTOR = "command line"
# Longer than it takes to read the largest table once.
LEASE = timedelta(minutes=15)


class Refused(Exception):
    """Nothing was erased; the text says why."""


class Unfinished(Exception):
    """What the landing page says of an erasure that failed: no name, and nothing that an error might quote."""


def exported(subject: Subject) -> Iterator[tuple[str, Iterator[Row]]]:
    """By table, what is kept of the subject. Each is to be read before the next."""
    by_label: dict[str, list[PersonalDataSource]] = {}
    for holding in personal_data.all():
        by_label.setdefault(holding.label, []).append(holding)
    for label, those in by_label.items():
        yield label, each_once(those, subject)


def each_once(those: list[PersonalDataSource], subject: Subject) -> Iterator[Row]:
    seen: set[Any] = set()
    for holding in those:
        for pk, row in holding.rows(subject):
            if pk not in seen:
                seen.add(pk)
                yield row


def counted(subject: Subject) -> Iterator[tuple[str, int]]:
    """How many rows an erasure would change, by table."""
    for holding in reversed(personal_data.all()):
        yield holding.label, holding.count(subject)


def remarks(subject: Subject) -> list[str]:
    return [text for holding in personal_data.all() for text in holding.remarks(subject)]


def refuse_last_superuser(subject: Subject) -> None:
    """Raises Refused where nobody would be left who may make users."""
    superusers = get_user_model()._default_manager.filter(is_superuser=True, is_active=True)
    going = set(users_of(subject).filter(is_superuser=True, is_active=True).values_list("pk", flat=True))
    if going and not superusers.exclude(pk__in=going).exists():
        raise Refused(_("That is the last active superuser: make another one first."))


def erase(subject: Subject, say: Callable[[str, int], None], actor: str = ACTOR) -> tuple[str, int]:
    """Put one pseudonym in place of the subject, table by table; the pseudonym and the number of rows changed.

    Begun anew where it was interrupted, it goes on under the same pseudonym. Raises Refused.
    """
    refuse_last_superuser(subject)
    lease = begin(subject)
    try:
        pseudonym = pseudonym_of(lease)
        done: dict[str, int] = {}
        for holding in reversed(personal_data.all()):
            changed = holding.erase(subject, pseudonym, lease)
            if changed:
                done[holding.label] = done.get(holding.label, 0) + changed
                say(holding.label, changed)
        finish(lease, pseudonym, done, actor)
    except BaseException:
        lease.fail(Unfinished("start it again, and it goes on"))
        raise
    return pseudonym, sum(done.values())


def begin(subject: Subject) -> Lease:
    """The right to erase this subject. Raises Refused while somebody else has it."""
    key = salted_hmac("vigie.privacy", subject.key, algorithm="sha256").hexdigest()
    lease = claim_cycle(JOB, key, LEASE)
    if lease is None:
        raise Refused(_("Somebody is erasing that at this moment."))
    return lease


def pseudonym_of(lease: Lease) -> str:
    """Made of nothing but chance, and kept with the lease until the erasure is through."""
    run = JobRun.objects.get(pk=lease.pk)
    if not run.result:
        run.result = {"pseudonym": f"erased-{secrets.token_hex(6)}"}
        run.save(update_fields=["result"])
    return str(run.result["pseudonym"])


def finish(lease: Lease, pseudonym: str, done: dict[str, int], actor: str) -> None:
    """Leave nothing that leads from the subject to its pseudonym."""
    if done:
        audit.record_event("privacy.erased", pseudonym, actor=actor, after=done)
    JobRun.objects.filter(pk=lease.pk, fence=lease.fence).delete()
