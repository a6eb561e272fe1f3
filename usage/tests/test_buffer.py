"""The buffer of tracked requests and its writer thread."""

import os
import threading

import pytest
from django.db import DataError, InterfaceError, InternalError, OperationalError, ProgrammingError
from django.utils import timezone

from portal.work.processes import current_process
from usage.models import FeatureUsage, TrackingWriter, UserError
from usage.tracking import buffer as module
from usage.tracking.buffer import Buffer, buffer
from usage.tracking.records import RequestError, RequestRecord

pytestmark = pytest.mark.django_db


def a_record(name="page", fault=None, who="alice"):
    return RequestRecord(who, name, "/page", timezone.now(), 12, fault)


def put(count, start=0):
    for number in range(start, start + count):
        buffer.put(a_record(f"page-{number}"))


@pytest.fixture
def offline(monkeypatch):
    """Make the database unavailable until `offline.clear()`."""
    gone, save = threading.Event(), Buffer.insert
    gone.set()

    def saving(self, records):
        if gone.is_set():
            raise OperationalError("server closed the connection")
        save(self, records)

    monkeypatch.setattr(Buffer, "insert", saving)
    return gone


@pytest.fixture
def a_thread(monkeypatch, transactional_db):
    """Start a buffer whose writer thread ends with the test."""
    monkeypatch.delattr(buffer, "start")  # that of conftest.py, which starts no thread
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.01)
    yield buffer
    buffer.end()
    assert not buffer.writer.is_alive()


def test_records_are_written_in_order_in_one_batch(written_when_asked):
    fault = RequestError("GET", "KeyError", 500, "The portal failed.", ("a:b:1",))
    put(3)
    buffer.put(a_record(fault=fault))
    written_when_asked()
    names = list(FeatureUsage.objects.order_by("pk").values_list("feature_name", "success"))
    assert names == [("page-0", True), ("page-1", True), ("page-2", True), ("page", False)]
    error = UserError.objects.get()
    assert (error.method, error.error_type, error.error_code, error.stack) == ("GET", "KeyError", 500, ["a:b:1"])
    assert (error.error_message, error.endpoint, error.user_email) == ("The portal failed.", "/page", "alice")
    assert buffer.queued == 0


def test_records_beyond_the_limit_are_dropped_and_counted(written_when_asked, settings):
    settings.TRACKING_BUFFER = 100
    put(130)
    assert (buffer.queued, buffer.dropped) == (100, 30)
    written_when_asked()
    assert FeatureUsage.objects.order_by("pk").last().feature_name == "page-99"
    writer = TrackingWriter.objects.get()
    assert (writer.process, writer.dropped, writer.queued) == (current_process(), 30, 0)
    assert writer.dropped_at == writer.seen_at


def test_records_wait_within_the_limit_while_database_is_down(offline, settings, written_when_asked):
    settings.TRACKING_BUFFER = 100
    put(60)
    assert not buffer.write_batch()
    put(60, start=60)
    assert (buffer.queued, buffer.dropped) == (100, 20)
    assert not buffer.write_batch()
    offline.clear()
    written_when_asked()
    assert FeatureUsage.objects.count() == 100
    assert TrackingWriter.objects.get().dropped == 20


def test_writing_resumes_when_database_is_back(a_thread, offline):
    waits = threading.Event()
    put(5)
    while buffer.writer is None or not buffer.batch:
        waits.wait(0.01)
    put(5, start=5)
    offline.clear()
    while buffer.queued:
        waits.wait(0.01)
    names = list(FeatureUsage.objects.order_by("pk").values_list("feature_name", flat=True))
    assert names == [f"page-{number}" for number in range(10)]


def test_drops_during_a_write_are_reported_without_new_records(a_thread, monkeypatch):
    save = Buffer.insert

    def saving(self, records):
        save(self, records)
        if records:
            self.drop()

    monkeypatch.setattr(Buffer, "insert", saving)
    put(1)
    for _ in range(500):
        if TrackingWriter.objects.filter(dropped=1).exists():
            return
        threading.Event().wait(0.01)
    pytest.fail("the buffer did not report to the database")


@pytest.mark.parametrize("error", [InternalError, InterfaceError, ProgrammingError])
def test_unavailable_database_loses_no_record(written_when_asked, monkeypatch, error):
    """The database may be read-only after a failover, or not migrated yet."""

    def saving(self, records):
        raise error("cannot execute INSERT in a read-only transaction")

    put(3)
    with monkeypatch.context() as patched:
        patched.setattr(Buffer, "insert", saving)
        assert not buffer.write_batch()
    written_when_asked()
    assert FeatureUsage.objects.count() == 3


def test_refused_record_is_dropped_alone(written_when_asked, monkeypatch, caplog):
    save = Buffer.insert

    def saving(self, records):
        if any(record.feature == "page-1" for record in records):
            raise DataError("K4NARI")
        save(self, records)

    monkeypatch.setattr(Buffer, "insert", saving)
    put(3)
    written_when_asked()
    assert set(FeatureUsage.objects.values_list("feature_name", flat=True)) == {"page-0", "page-2"}
    assert buffer.dropped == 1
    assert "a record could not be written: DataError" in caplog.text
    assert "K4NARI" not in caplog.text


def test_odd_characters_are_made_storable(written_when_asked):
    buffer.put(RequestRecord("a\0lice" * 90, "\ud800page" * 90, "/é\0" * 200, timezone.now(), 1, None))
    written_when_asked()
    usage = FeatureUsage.objects.get()
    assert (len(usage.user_email), len(usage.feature_name), len(usage.endpoint)) == (254, 128, 200)
    assert usage.user_email.startswith("alicealice")
    assert buffer.dropped == 0


def test_buffer_reports_periodically_and_drops_at_once(monkeypatch, written_when_asked, settings):
    clock = iter([100.0, 105.0, 106.0, 116.5])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    sent = []
    monkeypatch.setattr(Buffer, "store_counters", lambda self, dropped: sent.append(dropped))
    settings.TRACKING_BUFFER = 100
    for count in (1, 1, 101, 1):
        put(count)
        written_when_asked()
    assert sent == [0, 1, 1]


def test_forked_child_starts_with_an_empty_buffer():
    put(3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, f"{buffer.queued} {buffer.dropped} {buffer.writer}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"0 0 None"
    os.close(reader)
    os.close(writer)
    assert buffer.queued == 3


def test_first_record_starts_writer_and_restarts_dead_one(a_thread):
    assert buffer.writer is None
    put(1)
    first = buffer.writer
    assert first.is_alive()
    assert first.daemon
    put(1)
    assert buffer.writer is first
    buffer.writer = threading.Thread(target=lambda: None)  # one that is no more
    put(1)
    assert buffer.writer.is_alive()
    buffer.writer, other = first, buffer.writer
    buffer.end()
    other.join(5)


def test_end_of_process_writes_waiting_records(a_thread, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 60)
    put(4)
    buffer.end()
    assert FeatureUsage.objects.count() == 4


def test_end_of_process_retries_once_after_failures(a_thread, offline, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 60)
    put(4)
    while not buffer.batch:
        threading.Event().wait(0.01)
    offline.clear()
    buffer.end()
    assert FeatureUsage.objects.count() == 4


def test_end_of_process_does_not_wait_for_database(a_thread, offline, caplog):
    put(4)
    buffer.end()
    assert "4 tracked records were lost at the end of the process" in caplog.text
