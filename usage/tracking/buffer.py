"""Records wait in the process that made them until its writer thread has put them into the database.

The writer is started by the first record of a process, so that a server may fork after this was imported; it survives
whatever the database does, and what does not fit into the buffer meanwhile is dropped and counted.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque

from django.conf import settings
from django.db import DataError, Error, IntegrityError, close_old_connections, connections, transaction
from django.utils import timezone

from portal.base import disks
from portal.work.processes import current_process
from usage.models import FeatureUsage, TrackingWriter, UserError
from usage.tracking.records import Record

log = logging.getLogger("vigie.tracking")
# A record waits so long for others to be written with; then it is written, whatever there is.
GATHER_SECONDS = 0.5
AT_A_TIME = 1_000
LONGEST_PAUSE_SECONDS = 5.0
END_SECONDS = 5.0
TOLD_EVERY_SECONDS = 10.0


class Buffer:
    """`put` never waits and never fails; `dropped` counts the records of this process that found no room."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """In a forked child too: its parent's records are its parent's, and so is its writer."""
        self.waiting: deque[Record] = deque()
        self.in_hand: list[Record] = []
        self.dropped = 0
        self.writer: threading.Thread | None = None
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.filled, self.full, self.ending = threading.Event(), threading.Event(), threading.Event()
        self.told_at, self.told_dropped = -TOLD_EVERY_SECONDS, 0

    def put(self, record: Record) -> None:
        queued = self.queued
        if queued >= settings.TRACKING_BUFFER:
            self.drop()
            return
        self.waiting.append(record)
        if not self.filled.is_set():
            self.filled.set()
        if queued >= AT_A_TIME and not self.full.is_set():
            self.full.set()
        if self.writer is None or not self.writer.is_alive():
            self.start()

    @property
    def queued(self) -> int:
        return len(self.waiting) + len(self.in_hand)

    # --- The writer --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.lock:
            if (self.writer is None or not self.writer.is_alive()) and not self.ending.is_set():
                self.writer = threading.Thread(target=self.write_for_ever, name="vigie-tracking", daemon=True)
                self.writer.start()

    def write_for_ever(self) -> None:
        while not self.ending.is_set():
            self.filled.wait()
            self.full.wait(GATHER_SECONDS)
            self.filled.clear()
            self.full.clear()
            self.write_all()
        connections.close_all()

    def write_all(self) -> None:
        """Until nothing waits and the database knows what was dropped.

        While it is away it is tried again, less and less often; at the end of the process once more.
        """
        failures = 0
        while self.queued or self.dropped > self.told_dropped:
            is_last = self.ending.is_set()
            close_old_connections()
            if self.write_some():
                failures = 0
                continue
            if is_last:
                return
            failures += 1
            self.ending.wait(min(GATHER_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS))

    def write_some(self) -> bool:
        """Whether the oldest records are written; else they stay in hand."""
        with self.writing:
            while len(self.in_hand) < AT_A_TIME and self.waiting:
                self.in_hand.append(self.waiting.popleft())
            try:
                self.save(self.in_hand)
            except Exception as error:
                if is_away(error):
                    log.warning("the database does not take what was tracked: %s", disks.trouble(error))
                    return False
                self.in_hand = self.save_one_by_one(error)
            else:
                self.in_hand = []
            return not self.in_hand

    def save(self, records: list[Record]) -> None:
        dropped, moment = self.dropped, time.monotonic()
        is_news = dropped > self.told_dropped or moment >= self.told_at + TOLD_EVERY_SECONDS
        with transaction.atomic():
            FeatureUsage.objects.bulk_create(record.as_usage() for record in records)
            UserError.objects.bulk_create(error for record in records if (error := record.as_error()))
            if is_news:
                self.tell(dropped)
        if is_news:
            self.told_at, self.told_dropped = moment, dropped

    def tell(self, dropped: int) -> None:
        now = timezone.now()
        known = {"queued": len(self.waiting), "seen_at": now}
        if dropped > self.told_dropped:
            known |= {"dropped": dropped, "dropped_at": now}
        TrackingWriter.objects.update_or_create(process=current_process(), defaults=known)

    def save_one_by_one(self, error: Exception) -> list[Record]:
        """One record that the database refuses must not take the others with it. Those that are still to be written.

        Of the refusal the class alone is told: its text may hold what was to be written.
        """
        log.error("a record could not be written: %s", disks.trouble(error))
        left = []
        for record in self.in_hand:
            try:
                self.save([record])
            except Exception as refusal:
                if is_away(refusal):
                    left.append(record)
                else:
                    self.drop()
        return left

    def drop(self) -> None:
        with self.lock:
            self.dropped += 1

    def end(self) -> None:
        """Writes what waits, for as long as the end of a process may take."""
        self.ending.set()
        self.filled.set()
        self.full.set()
        if self.writer is not None:
            self.writer.join(END_SECONDS)
        if self.queued:
            log.error("%d tracked records were lost at the end of the process", self.queued)


def is_away(error: Exception) -> bool:
    """Whether the database takes nothing at all now: it is gone, read-only, or its tables are not there yet."""
    return isinstance(error, Error) and not isinstance(error, (DataError, IntegrityError))


buffer = Buffer()
os.register_at_fork(after_in_child=buffer.reset)
atexit.register(buffer.end)
