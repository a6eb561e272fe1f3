"""Export and erase a subject's data in every table."""

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


class ErasureRefused(Exception):
    """The erasure was refused; the text says why."""


class ErasureFailed(Exception):
    """The error kept of a failed erasure: without a name, and without the original text, which might quote one."""


def export_rows(subject: Subject) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield each table's label and rows about the subject. Read the rows before asking for the next table."""
    by_label: dict[str, list[PersonalDataSource]] = {}
    for source in personal_data.all():
        by_label.setdefault(source.label, []).append(source)
    for label, sources in by_label.items():
        yield label, distinct_rows(sources, subject)


def distinct_rows(sources: list[PersonalDataSource], subject: Subject) -> Iterator[Row]:
    seen: set[Any] = set()
    for source in sources:
        for pk, row in source.rows(subject):
            if pk not in seen:
                seen.add(pk)
                yield row


def count_rows(subject: Subject) -> Iterator[tuple[str, int]]:
    """Yield each table's label and the number of rows that an erasure would change."""
    for source in reversed(personal_data.all()):
        yield source.label, source.count(subject)


def collect_remarks(subject: Subject) -> list[str]:
    return [text for source in personal_data.all() for text in source.remarks(subject)]


def refuse_last_superuser(subject: Subject) -> None:
    """Raise ErasureRefused if no active superuser would be left."""
    superusers = get_user_model()._default_manager.filter(is_superuser=True, is_active=True)
    going = set(users_of(subject).filter(is_superuser=True, is_active=True).values_list("pk", flat=True))
    if going and not superusers.exclude(pk__in=going).exists():
        raise ErasureRefused(_("This is the last active superuser. Create another one first."))


def erase(subject: Subject, say: Callable[[str, int], None], actor: str = ACTOR) -> tuple[str, int]:
    """Replace the subject by one pseudonym, table by table; return the pseudonym and the number of rows changed.

    An interrupted erasure that is started again continues with the same pseudonym. Raises ErasureRefused.
    """
    refuse_last_superuser(subject)
    lease = claim_erasure(subject)
    try:
        pseudonym = choose_pseudonym(lease)
        done: dict[str, int] = {}
        for source in reversed(personal_data.all()):
            changed = source.erase(subject, pseudonym, lease)
            if changed:
                done[source.label] = done.get(source.label, 0) + changed
                say(source.label, changed)
        finish_erasure(lease, pseudonym, done, actor)
    except BaseException:
        lease.fail(ErasureFailed("start it again, and it goes on"))
        raise
    return pseudonym, sum(done.values())


def claim_erasure(subject: Subject) -> Lease:
    """Claim the lease on erasing this subject. Raises ErasureRefused while another process holds it."""
    key = salted_hmac("vigie.privacy", subject.key, algorithm="sha256").hexdigest()
    lease = claim_cycle(JOB, key, LEASE)
    if lease is None:
        raise ErasureRefused(_("Someone else is erasing this data now."))
    return lease


def choose_pseudonym(lease: Lease) -> str:
    """Return the erasure's random pseudonym, kept with the lease until the erasure is complete."""
    run = JobRun.objects.get(pk=lease.pk)
    if not run.result:
        run.result = {"pseudonym": f"erased-{secrets.token_hex(6)}"}
        run.save(update_fields=["result"])
    return str(run.result["pseudonym"])


def finish_erasure(lease: Lease, pseudonym: str, done: dict[str, int], actor: str) -> None:
    """Leave nothing that leads from the subject to its pseudonym."""
    if done:
        audit.record_event("privacy.erased", pseudonym, actor=actor, after=done)
    JobRun.objects.filter(pk=lease.pk, fence=lease.fence).delete()
