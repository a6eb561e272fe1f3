"""The registry of kinds of data that can be imported: apps add theirs in a module `legacy`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from itertools import islice
from typing import Any, TypeVar

from django.db import transaction

from portal.base.conventions import Collected
from portal.legacy.files import LegacyFile
from portal.legacy.reports import ImportReport
from portal.work.jobs import Lease, exclusive_lease

# Rows of one transaction.
BATCH = 500
# A batch takes seconds, and so do the jobs that hold the same leases.
LEASE_LENGTH, PATIENCE = timedelta(minutes=5), timedelta(seconds=60)
# Whom the audit log and imported rows name as their source.
ACTOR = "command line"

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import, which writes nothing unless it `applies`.

    `zone` is that of times without one, `base_url` the address that the paths of old rounds lie below, `programme` the
    name of the beta programme that feedback is for. `planned` holds what a dry run would have created, by kind.
    """

    applies: bool
    zone: tzinfo
    base_url: str = ""
    programme: str = ""
    planned: dict[str, set[Any]] = field(default_factory=dict)

    def lease(self, name: str) -> AbstractContextManager[Lease | None]:
        """Hold the lease of a job that must not run meanwhile; none for a dry run. Raises AlreadyRunning."""
        return exclusive_lease(name, LEASE_LENGTH, PATIENCE) if self.applies else nullcontext()

    @contextmanager
    def transaction(self, lease: Lease | None = None) -> Iterator[None]:
        """Open the transaction of a batch, with the lease's fence; none for a dry run. Raises LeaseLost."""
        if not self.applies:
            yield
            return
        with transaction.atomic():
            if lease:
                lease.extend()
            yield


@dataclass(frozen=True)
class LegacyKind:
    """One kind of data. `matches` recognizes a file by its content, `load` imports it and fills the report.

    `load` writes in batches of BATCH rows, each a transaction, and leaves alone what an earlier import wrote: an
    interrupted import is finished by another one. It sends no message, and raises UnreadableFile.
    """

    name: str
    matches: Callable[[LegacyFile], bool]
    load: Callable[[LegacyFile, ImportReport, ImportOptions], None]


legacy_kinds: Collected[LegacyKind] = Collected("legacy")


def batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield lists of at most BATCH items."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
