"""A bounded queue of tracked requests in each process, and the thread that writes it to the database.

The first record starts the thread, so a server may fork after the import. The thread survives any database error, and
records that do not fit into the queue meanwhile are dropped and counted.
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
from usage.tracking.records import RequestRecord

log = logging.getLogger("vigie.tracking")
# A record waits this long for others, to be written in one batch.
GATHER_SECONDS = 0.5
AT_A_TIME = 1_000
LONGEST_PAUSE_SECONDS = 5.0
END_SECONDS = 5.0
REPORT_SECONDS = 10.0


class Buffer:
    """`put` never blocks and never raises. `dropped` counts the records of this process that were not kept."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start empty. Called in forked children too, since records and thread belong to the parent."""
        self.queue: deque[RequestRecord] = deque()
        self.batch: list[RequestRecord] = []
        self.dropped = 0
        self.writer: threading.Thread | None = None
        self.lock = threading.Lock()
        self.write_lock = threading.Lock()
        self.filled, self.batch_ready, self.ending = threading.Event(), threading.Event(), threading.Event()
        self.reported_at, self.reported_dropped = -REPORT_SECONDS, 0

    def put(self, record: RequestRecord) -> None:
        queued = self.queued
        if queued >= settings.TRACKING_BUFFER:
            self.drop()
            return
        self.queue.append(record)
        if not self.filled.is_set():
            self.filled.set()
        if queued >= AT_A_TIME and not self.batch_ready.is_set():
            self.batch_ready.set()
        if self.writer is None or not self.writer.is_alive():
            self.start()

    @property
    def queued(self) -> int:
        return len(self.queue) + len(self.batch)

    # --- The writer --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.lock:
            if (self.writer is None or not self.writer.is_alive()) and not self.ending.is_set():
                self.writer = threading.Thread(target=self.write_for_ever, name="vigie-tracking", daemon=True)
                self.writer.start()

    def write_for_ever(self) -> None:
        while not self.ending.is_set():
            self.filled.wait()
            self.batch_ready.wait(GATHER_SECONDS)
            self.filled.clear()
            self.batch_ready.clear()
            self.write_all()
        connections.close_all()

    def write_all(self) -> None:
        """Write until the queue is empty and the count of dropped records is stored.

        Retries with exponential backoff while the database is unavailable; at the end of the process only once.
        """
        failures = 0
        while self.queued or self.dropped > self.reported_dropped:
            is_last = self.ending.is_set()
            close_old_connections()
            if self.write_batch():
                failures = 0
                continue
            if is_last:
                return
            failures += 1
            self.ending.wait(min(GATHER_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS))

    def write_batch(self) -> bool:
        """Write the oldest records. Return False if the database is unavailable; they are kept in `batch`."""
        with self.write_lock:
            while len(self.batch) < AT_A_TIME and self.queue:
                self.batch.append(self.queue.popleft())
            try:
                self.insert(self.batch)
            except Exception as error:
                if is_unavailable(error):
                    log.warning(
                        "the database does not accept tracked requests: %s",
                        disks.describe_error(error),
                    )
                    return False
                self.batch = self.insert_one_by_one(error)
            else:
                self.batch = []
            return not self.batch

    def insert(self, records: list[RequestRecord]) -> None:
        dropped, clock = self.dropped, time.monotonic()
        is_due = dropped > self.reported_dropped or clock >= self.reported_at + REPORT_SECONDS
        with transaction.atomic():
            FeatureUsage.objects.bulk_create(record.as_usage() for record in records)
            UserError.objects.bulk_create(error for record in records if (error := record.as_error()))
            if is_due:
                self.store_counters(dropped)
        if is_due:
            self.reported_at, self.reported_dropped = clock, dropped

    def store_counters(self, dropped: int) -> None:
        now = timezone.now()
        values = {"queued": len(self.queue), "seen_at": now}
        if dropped > self.reported_dropped:
            values |= {"dropped": dropped, "dropped_at": now}
        TrackingWriter.objects.update_or_create(process=current_process(), defaults=values)

    def insert_one_by_one(self, error: Exception) -> list[RequestRecord]:
        """Drop the records that the database refuses, and return those that are still to be written.

        Only the class of the error is logged, since its text may contain values.
        """
        log.error("a record could not be written: %s", disks.describe_error(error))
        remaining = []
        for record in self.batch:
            try:
                self.insert([record])
            except Exception as refusal:
                if is_unavailable(refusal):
                    remaining.append(record)
                else:
                    self.drop()
        return remaining

    def drop(self) -> None:
        with self.lock:
            self.dropped += 1

    def end(self) -> None:
        """Write the remaining records, within END_SECONDS."""
        self.ending.set()
        self.filled.set()
        self.batch_ready.set()
        if self.writer is not None:
            self.writer.join(END_SECONDS)
        if self.queued:
            log.error("%d tracked records were lost at the end of the process", self.queued)


def is_unavailable(error: Exception) -> bool:
    """Return True if the database accepts no writes: it is down or read-only, or its tables do not exist yet."""
    return isinstance(error, Error) and not isinstance(error, (DataError, IntegrityError))


buffer = Buffer()
os.register_at_fork(after_in_child=buffer.reset)
atexit.register(buffer.end)
