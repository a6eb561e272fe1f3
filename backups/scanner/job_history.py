"""The recorded past of a job, which every verdict on a new cycle rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from django.db.models.functions import Upper
from django.utils import timezone

from backups.cycles import Cycle
from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.querysets import STORED, UNFINISHED
from backups.reasons import Reason, make_reason
from backups.scanner.disk import paths, storage
from backups.scanner.disk.storage import StoragePlan

Promotion = BackupEntry.Promotion
COMPARED_SUCCESSES = 7


@dataclass
class JobHistory:
    """The entries of a job by their cycle, kept up to date while later cycles are examined.

    `storage_refusal` is why the job may store nothing. `superseded` are the paths of stored dumps that a later dump of
    their own cycle replaces.
    """

    job: ExpectedBackupJob
    now: datetime
    entries: dict[datetime, BackupEntry] = field(default_factory=dict)
    storage_refusal: Reason | None = None
    superseded: set[str] = field(default_factory=set)

    def successes_before(self, cycle: Cycle) -> list[BackupEntry]:
        """Return the earlier entries that are SUCCESS, latest first."""
        earlier = [entry for entry in self.entries.values() if entry.cycle_at < cycle.at]
        successes = [entry for entry in earlier if entry.status == Status.SUCCESS]
        return sorted(successes, key=lambda entry: entry.cycle_at, reverse=True)

    def previous_hash(self, cycle: Cycle) -> str:
        """Return the SHA-256 of the latest earlier success without doubts, or the imported one if there is none."""
        for entry in self.successes_before(cycle):
            if not entry.has_doubts:
                return entry.server_sha256
        is_earlier = self.job.last_success_at is None or self.job.last_success_at < cycle.opens
        return self.job.previous_successful_hash.lower() if is_earlier else ""

    def usual_sizes(self, cycle: Cycle) -> list[int]:
        """Return the sizes of the last successes, doubtful ones included: a database may shrink for good."""
        return [entry.server_size or 0 for entry in islice(self.successes_before(cycle), COMPARED_SUCCESSES)]

    def is_settled(self, cycle: Cycle) -> bool:
        """Return True if only a later report could change the verdict on a cycle."""
        entry = self.entries.get(cycle.at)
        return entry is not None and (entry.is_good or entry.status == Status.UNVERIFIED)

    def has_later_entry(self, cycle: Cycle, matters: Callable[[BackupEntry], bool]) -> bool:
        """Return True if an entry of a later cycle matters. Entries of the future, made with `--at`, do not count."""
        latest = max(self.now, timezone.now()) + timedelta(minutes=self.job.early_minutes)
        return any(cycle.at < entry.cycle_at <= latest and matters(entry) for entry in self.entries.values())

    @property
    def current(self) -> BackupEntry | None:
        """The entry whose dump is the current version."""
        promoted = (entry for entry in self.entries.values() if entry.promotion == Promotion.PROMOTED)
        return max(promoted, key=lambda entry: entry.cycle_at, default=None)

    def has_current_version(self, sha256: str) -> bool:
        """Return True if the current version has this SHA-256, is intact, and is in its folder."""
        entry = self.current
        if entry is None or entry.server_sha256 != sha256 or self.job.damage is not None:
            return False
        is_in_place = entry.stored_path == StoragePlan(entry, is_version=False).path
        return is_in_place and storage.is_dump_present(entry)

    def has_better(self, entry: BackupEntry) -> bool:
        """Return True if a dump in doubt must not become current: one without doubts, or a later one, is stored.

        A damaged current version is no better.
        """
        if not entry.has_doubts:
            return False
        others = BackupEntry.objects.filter(job=self.job).stored().exclude(pk=entry.pk)
        if self.job.damage is not None:
            others = others.exclude(promotion=Promotion.PROMOTED)
        return any(not other.has_doubts or other.cycle_at > entry.cycle_at for other in others)

    def newest_unfinished(self) -> BackupEntry | None:
        """Return the latest verified entry if its dump still has to be stored."""
        verified = [entry for entry in self.entries.values() if entry.promotion in (*UNFINISHED, *STORED)]
        newest = max(verified, key=lambda entry: entry.cycle_at, default=None)
        return newest if newest is not None and newest.promotion in UNFINISHED else None


def load_histories(jobs: list[ExpectedBackupJob], now: datetime) -> list[JobHistory]:
    refusals = find_shared_storage(jobs)
    histories = {job.pk: JobHistory(job, now, storage_refusal=refusals.get(job.pk)) for job in jobs}
    for entry in BackupEntry.objects.recent(jobs, now):
        history = histories[entry.job_id]
        entry.job = history.job
        history.entries[entry.cycle_at] = entry
    return list(histories.values())


def find_shared_storage(jobs: list[ExpectedBackupJob]) -> dict[int, Reason]:
    """Return a reason for each job whose folder another active job has too: they would mix up their backups."""
    folders = {job.pk: "/".join(paths.storage_folder(job)).upper() for job in jobs}
    active = ExpectedBackupJob.objects.annotate(upper=Upper("storage_folder")).filter(is_active=True)
    owners: dict[str, list[tuple[int, str]]] = {}
    rows = active.filter(upper__in=set(folders.values())).values_list("upper", "pk", "agent_id", "database_name")
    for folder, pk, agent_id, database in rows:
        owners.setdefault(folder, []).append((pk, f"{agent_id} {database}"))
    others = {job.pk: [name for pk, name in owners.get(folders[job.pk], []) if pk != job.pk] for job in jobs}
    return {pk: make_reason("storage_shared", job=names[0]) for pk, names in others.items() if names}
