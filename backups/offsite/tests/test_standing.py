"""What people see of off-site copies: findings, metrics, the page of a database, doctor."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups.findings import last_offsite_copies_lost, late_offsite_copies, lost_offsite_copies
from backups.metrics import offsite_copies
from backups.models import ExpectedBackupJob, OffsiteCopy, Scan
from backups.offsite import runs
from backups.panels import count_jobs
from backups.privacy import copy_changes, list_kept_copies
from backups.scanner import digest
from backups.tests.factories import make_entry
from portal.egress.store_address import parse_store_url
from portal.privacy import Subject
from portal.tests.helpers.doctor import rows_of
from portal.tests.helpers.stores import Answer

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ADDRESS = parse_store_url("s3://k:s@s3.example.org/backups/vigie")


@pytest.fixture(autouse=True)
def has_store(settings):
    settings.OFFSITE_URL = ADDRESS


def make_copy(job, state="pending", since=2 * DAY, promotion="archived", ago=DAY, **fields):
    entry = make_entry(job, promotion=promotion, ago=ago)
    return OffsiteCopy.objects.create(
        entry=entry, state=state, since=timezone.now() - since, place=ADDRESS.place, **fields
    )


def findings():
    return [found.text for found in late_offsite_copies(timezone.now())]


def test_late_copies_are_one_finding_for_each_cause(make_job):
    first, second = make_job("a"), make_job("b")
    for hours in range(3):
        make_copy(first, "failed", 2 * DAY + hours * HOUR, ago=hours * HOUR, error="refused", error_code="AccessDenied")
    make_copy(second, "failed", 3 * HOUR, error="refused", error_code="AccessDenied")
    make_copy(second, "failed", 3 * HOUR, ago=HOUR, error="local_absent")
    assert findings() == [
        "4 backups of 2 databases have had no off-site copy for 2 days 2 h: the store refuses the key (AccessDenied).",
        "1 backup of 1 database has had no off-site copy for 3 h: the stored file is missing.",
    ]


def test_finding_has_a_key_and_the_time_since_when_copies_are_missing(job):
    copy = make_copy(job, "failed", error="full")
    (found,) = late_offsite_copies(timezone.now())
    assert (found.key, found.since) == ("backups.offsite:full", copy.since)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"state": "pending", "since": 23 * HOUR}, 0),
        ({"state": "pending", "since": 25 * HOUR}, 1),
        ({"state": "failed", "since": timedelta(minutes=59), "error": "full"}, 0),
        ({"state": "failed", "since": 2 * HOUR, "error": "full"}, 1),
        ({"state": "copied"}, 0),
        ({"state": "pending", "promotion": "removed"}, 0),
    ],
)
def test_copies_are_late_after_a_day_and_failed_ones_after_an_hour(job, fields, count):
    make_copy(job, **fields)
    assert len(findings()) == count


def test_without_a_store_nothing_is_late(job, settings):
    make_copy(job)
    settings.OFFSITE_URL = None
    assert findings() == []
    assert list(offsite_copies(timezone.now())) == []


def test_every_word_of_an_error_has_a_sentence(job):
    words = ["refused", "unreachable", "timeout", "full", "not_found", "no_bucket", "garbage", "local_absent", ""]
    for hours, word in enumerate([*words, "local_differs", "local_unreadable"]):
        make_copy(job, ago=hours * HOUR, error=word)
    assert len(findings()) == 11
    assert not any("offsite_" in text for text in findings())


def test_lost_copies_are_a_finding_for_a_week(job):
    make_copy(job, "copied", lost_at=timezone.now() - 6 * DAY, loss="altered")
    make_copy(job, "copied", ago=HOUR, lost_at=timezone.now() - 8 * DAY, loss="altered")
    (found,) = lost_offsite_copies(timezone.now())
    assert found.text.startswith("1 off-site copy")


def test_last_copies_that_are_lost_are_a_finding_until_they_are_found_or_replaced(job):
    copy = make_copy(job, promotion="removed", lost_at=timezone.now() - 30 * DAY, loss="not_found")
    (found,) = last_offsite_copies_lost(timezone.now())
    assert (found.key, found.since) == ("backups.offsite_last_lost", copy.lost_at)
    assert list(lost_offsite_copies(timezone.now())) == []
    make_copy(job, "copied", ago=0 * DAY)
    assert list(last_offsite_copies_lost(timezone.now())) == []
    OffsiteCopy.objects.exclude(pk=copy.pk).delete()
    OffsiteCopy.objects.update(state="copied")
    assert list(last_offsite_copies_lost(timezone.now())) == []


def test_copies_that_nobody_verifies_are_a_finding_for_each_cause(make_job):
    first, second = make_job("a"), make_job("b")
    for hours in range(2):
        verified_at = timezone.now() - 15 * DAY
        make_copy(first, "copied", ago=hours * HOUR, verified_at=verified_at, error="refused", error_code="403")
    make_copy(second, "copied", verified_at=timezone.now() - 20 * DAY)
    make_copy(second, "copied", ago=HOUR, verified_at=timezone.now() - 13 * DAY, error="refused")
    assert findings() == [
        "1 off-site copy of 1 database has not been verified for 20 days: they are waiting to be verified.",
        "2 off-site copies of 1 database have not been verified for 15 days: the store refuses the key (403).",
    ]
    keys = [found.key for found in late_offsite_copies(timezone.now())]
    assert keys == ["backups.offsite_unverified:", "backups.offsite_unverified:refused"]


def test_copies_in_a_former_store_need_no_verification(job):
    copy = make_copy(job, "copied", verified_at=timezone.now() - 20 * DAY)
    OffsiteCopy.objects.filter(pk=copy.pk).update(place="former.example/backups")
    assert findings() == []


def test_digest_names_late_copies(job):
    make_copy(job, "failed", error="full")
    now = timezone.now()
    notice = digest.digest_notice(count_jobs(now), digest.list_problems(now), Scan.objects.last_full(), now)
    assert "the store is full" in notice.text


def test_metrics_count_copies_by_state(job):
    make_copy(job, "copied")
    make_copy(job, "failed", ago=HOUR)
    make_copy(job, "pending", ago=2 * HOUR, promotion="removed")
    by_state, oldest = offsite_copies(timezone.now())
    assert {sample.labels["state"]: sample.value for sample in by_state.samples} == {
        "pending": 0,
        "copied": 1,
        "failed": 1,
    }
    assert 172_800 <= oldest.samples[0].value < 172_900


def test_page_of_a_database_shows_where_its_copies_are(job, admin_client):
    moment = timezone.now() - DAY
    make_copy(job, "copied", copied_at=moment, verified_at=moment, key="ACME/_/crm/versions/1.sql.gz")
    make_copy(job, "copied", ago=3 * DAY, promotion="removed", copied_at=moment, verified_at=moment, error="refused")
    make_copy(job, "failed", ago=2 * DAY, error="full", error_code="QuotaExceeded")
    make_copy(job, ago=4 * DAY, promotion="removed", loss="altered")
    page = admin_client.get(f"/admin/backups/expectedbackupjob/{job.pk}/change/").content.decode()
    assert page.count("verified <time") == 2
    assert "s3.example.org/backups/vigie/ACME/_/crm/versions/1.sql.gz" in page
    assert page.count("The store refuses the key") == page.count("The store is full (QuotaExceeded)") == 1
    assert page.count("Removed or altered in the store") == 1


def test_page_without_a_store_has_no_column_of_copies(job, admin_client, settings):
    settings.OFFSITE_URL = None
    make_copy(job, "copied", promotion="removed")
    page = admin_client.get(f"/admin/backups/expectedbackupjob/{job.pk}/change/").content.decode()
    assert "Off-site copy" not in page
    assert "No stored versions." in page


def test_deletion_of_a_database_says_that_its_copies_stay(job, admin_client):
    make_copy(job, "copied")
    ExpectedBackupJob.objects.update(is_active=False)
    page = admin_client.get(f"/admin/backups/expectedbackupjob/{job.pk}/delete/").content.decode()
    assert "1 off-site copy stays in the store." in page


def test_erased_machine_leaves_its_name_in_no_key(job):
    subject = Subject((job.agent_id,), is_machine=True)
    copy = make_copy(job, "copied", key=f"{job.agent_id}/db/versions/x.sql.gz", version="v1")
    other = make_copy(job, "copied", ago=HOUR, key="ACME/db/versions/x.sql.gz")
    assert copy_changes(copy, subject, "erased") == {
        "key": "erased/db/versions/x.sql.gz",
        "version": "",
        "superseded": [],
        "state": "pending",
        "loss": "",
    }
    assert copy_changes(other, subject, "erased") == {}
    assert [job.storage_folder in remark for remark in list_kept_copies(subject)] == [True]


def test_doctor_asks_the_store_for_its_bucket(bucket, settings):
    settings.OFFSITE_URL = bucket.address
    assert rows_of("offsite_store")["offsite_store"].status == "ok"
    bucket.proxy.fault = lambda method, path: Answer(403, error="AccessDenied")
    row = rows_of("offsite_store")["offsite_store"]
    assert (row.status, row.detail) == ("failed", "The store refuses the key (403).")
    settings.OFFSITE_URL = None
    assert rows_of("offsite_store") == {}


def test_missing_copies_are_counted_by_the_periodic_job(job):
    make_entry(job, promotion="promoted")
    assert runs.queue_due() == 1
