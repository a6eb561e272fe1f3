"""Off-site copies in a store that fails: nothing is lost or doubled, and what failed is tried again later."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from backups.models import OffsiteCopy
from backups.offsite import copying
from backups.offsite.tests.conftest import end_backoff, full_key, state_of
from backups.tests.factories import dump
from portal.egress import file_parts, s3, s3_client
from portal.tests.helpers.stores import DROP, ENDLESS, HANG, HTML, TRICKLE, Answer

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
MIB = 1024 * 1024


FAULTS = {
    "refuses the key": (Answer(403, error="InvalidAccessKeyId"), "refused"),
    "is full": (Answer(507, error="InsufficientStorage"), "full"),
    "over quota": (Answer(403, error="QuotaExceeded"), "full"),
    "HTML": (Answer(200, HTML), "garbage"),
    "hangs up": (DROP, "unreachable"),
    "endless": (ENDLESS, "garbage"),
    "elsewhere": (Answer(307, location="http://127.0.0.1:9/"), "garbage"),
    "no answer of a store": (Answer(200), "garbage"),
}


@pytest.mark.parametrize(("fault", "word"), FAULTS.values(), ids=FAULTS)
def test_store_that_fails_loses_nothing_and_recovers(store, job, put_version, run, fault, word):
    entry, older = put_version(job), put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    store.proxy.fault = lambda method, path: fault if method == "PUT" else None
    run()
    assert (state_of(entry), state_of(older)) == (f"failed {word}", f"failed {word}")
    since = OffsiteCopy.objects.get(entry=entry).failed_since
    end_backoff()
    run()
    assert OffsiteCopy.objects.get(entry=entry).failed_since == since
    store.proxy.fault = lambda method, path: None
    end_backoff()
    run()
    assert (state_of(entry), state_of(older)) == ("copied", "copied")
    assert store.keys == sorted([full_key(store, entry), full_key(store, older)])


STEPS = {
    "HEAD": ("HEAD", "/versions/"),
    "list of uploads": ("GET", "uploads"),
    "new upload": ("POST", "uploads"),
    "part": ("PUT", "partNumber=2"),
    "completion": ("POST", "uploadId"),
    "read-back": ("GET", "/versions/"),
}
STEP_FAULTS = {
    "hangs": (HANG, "timeout"),
    "trickles": (TRICKLE, "timeout"),
    "refuses": (Answer(403, error="AccessDenied"), "refused"),
    "is full": (Answer(507), "full"),
    "garbage": (Answer(418, HTML), "garbage"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_step_that_fails_doubles_and_loses_nothing(store, job, put_version, run, monkeypatch, step, fault):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    (method, part), (answer, word), real = STEPS[step], STEP_FAULTS[fault], s3_client.exchange

    def exchange(request, body, deadline):
        is_late = answer in (HANG, TRICKLE) and request.method == method and part in request.url
        return real(request, body, time.monotonic() + 0.05 if is_late else deadline)

    monkeypatch.setattr(s3_client, "exchange", exchange)
    content = os.urandom(6 * MIB)
    entry = put_version(job, content)
    store.proxy.fault = lambda found, path: answer if found == method and part in path else None
    run()
    assert state_of(entry) == f"failed {word}"
    store.proxy.fault = lambda method, path: None
    end_backoff()
    monkeypatch.setattr(s3_client, "exchange", real)
    run()
    assert (state_of(entry), store.keys) == ("copied", [full_key(store, entry)])
    assert store.content(full_key(store, entry)) == content
    assert list(store.store.uploads()) == []


def test_missing_bucket_is_named(store, job, put_version, run, settings):
    entry = put_version(job)
    settings.OFFSITE_URL = type(store.address)(**{**vars(store.address), "bucket": "none-such"})
    run()
    assert state_of(entry) == "failed no_bucket"


def refuse_version(entry, method="PUT"):
    return lambda found, path: (
        Answer(403, error="AccessDenied") if found == method and entry.version_name in path else None
    )


def test_refused_version_delays_no_other(store, job, put_version, run):
    entry, older = put_version(job), put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    store.proxy.fault = refuse_version(entry)
    run()
    assert (state_of(entry), state_of(older)) == ("failed refused", "copied")


def test_success_of_another_version_does_not_end_the_backoff(store, job, put_version, run):
    entry = put_version(job)
    store.proxy.fault = refuse_version(entry)
    run()
    retry_at = OffsiteCopy.objects.get(entry=entry).retry_at
    store.proxy.calls.clear()
    put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    OrmQ.objects.all().delete()
    run()
    assert store.proxy.count("PUT", entry.version_name) == 0
    assert (OffsiteCopy.objects.get(entry=entry).retry_at, OrmQ.objects.count()) == (retry_at, 1)


@pytest.mark.parametrize(
    ("failing", "wait"),
    [
        (timedelta(0), timedelta(minutes=10)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=3), timedelta(hours=6)),
    ],
)
def test_backoff_grows_with_the_time_of_failing_up_to_six_hours(job, put_version, failing, wait, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    copy = OffsiteCopy.objects.create(entry=put_version(job), failed_since=now - failing)
    copying.record_failure(copy, s3.StoreError("full"))
    copy.refresh_from_db()
    assert copy.retry_at == now + wait


def test_wrong_checksum_of_the_store_is_settled_by_reading_the_object_back(store, job, put_version, run, monkeypatch):
    entry = put_version(job)
    monkeypatch.setattr(file_parts.FileParts, "checksum", property(lambda parts: ""))
    monkeypatch.setattr(s3.Store, "put", lambda self, key, source, parts, **options: store.overwrite(
        f"{store.address.prefix}/{key}", os.pread(source, parts.size, 0)))  # fmt: skip
    run()
    assert state_of(entry) == "copied"
