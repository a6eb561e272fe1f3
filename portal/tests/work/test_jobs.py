"""Leases of job cycles: each cycle takes effect once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from portal.models import JobRun
from portal.work.jobs import Lease, LeaseLost, claim_cycle
from portal.work.processes import HOST, current_process

pytestmark = pytest.mark.django_db
DEAD, SILENT, UNKNOWN = f"{HOST}:4194305:1", "another-host/12345678:7:1", "another-host/87654321:7:1"


@pytest.fixture
def lease() -> Lease:
    held = claim_cycle("scan", "monday")
    assert held is not None
    return held


def run_out(lease: Lease) -> None:
    JobRun.objects.filter(pk=lease.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_leased_cycle_cannot_be_claimed_by_another(lease):
    assert claim_cycle("scan", "monday") is None


def test_other_cycles_and_jobs_can_be_claimed(lease):
    assert claim_cycle("scan", "tuesday")
    assert claim_cycle("digest", "monday")


def test_finished_cycle_cannot_be_claimed_again(lease):
    lease.finish({"found": 3})
    run_out(lease)
    assert claim_cycle("scan", "monday") is None
    assert JobRun.objects.get().result == {"found": 3}


def test_failed_cycle_keeps_its_error_and_can_be_claimed_again(lease):
    lease.fail(ValueError("no disk"))
    assert JobRun.objects.get().error == "ValueError: no disk"
    again = claim_cycle("scan", "monday")
    assert again is not None
    assert again.fence == lease.fence + 1


def test_overtaken_holder_cannot_write_any_more(lease):
    run_out(lease)
    successor = claim_cycle("scan", "monday")
    assert successor is not None
    for write in (lease.extend, lease.finish):
        with pytest.raises(LeaseLost):
            write()
    lease.fail(ValueError())
    successor.finish()
    assert JobRun.objects.get().status == "done"


def test_expired_but_unclaimed_lease_is_still_valid(lease):
    run_out(lease)
    lease.extend()
    assert claim_cycle("scan", "monday") is None


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [(DEAD, True), (SILENT, True), (UNKNOWN, False), (current_process(), False)],
    ids=["dead", "silent", "unknown", "alive"],
)
def test_lease_of_dead_holder_is_claimed_at_once_on_every_host(lease, silent_node, holder, is_free):
    silent_node()
    JobRun.objects.update(holder=holder)
    overtaken = claim_cycle("scan", "monday")
    assert (overtaken is not None) is is_free
    if is_free:
        with pytest.raises(LeaseLost):
            lease.extend()


@pytest.mark.django_db(transaction=True)
def test_simultaneous_claims_give_the_cycle_to_one():
    def claiming(_: int) -> Lease | None:
        try:
            return claim_cycle("scan", "monday")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(claiming, range(8)))
    assert sum(lease is not None for lease in leases) == 1
