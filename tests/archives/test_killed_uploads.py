"""A backup into a store that is killed, and what the next one makes of it."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from portal.egress.file_parts import PART_SIZE
from portal.tests.helpers.portal_process import MANAGE
from portal.tests.helpers.stores import Bucket
from tests.archives.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.one_database("an upload knows no database", despite=("Popen",))]


def test_killed_upload_leaves_no_archive_and_is_swept_by_the_next_backup(place: Place, bucket: Bucket) -> None:
    address = bucket.address
    arguments = place.arguments(
        "backup_portal", f"s3://KEY:SECRET@{address.host}/{address.bucket}/{address.prefix}?tls=off"
    )
    large = place.portal.directory / "reports/large"
    large.write_bytes(os.urandom(PART_SIZE))  # so that there are two parts
    killed = subprocess.Popen([*MANAGE, *arguments], env=place.portal.environment, stderr=subprocess.DEVNULL)
    bucket.proxy.fault = lambda method, path: killed.kill() if "partNumber=2" in path else None
    assert killed.wait() == -signal.SIGKILL
    large.unlink()
    assert (bucket.keys, len(list(bucket.store.uploads()))) == ([], 1)
    done = place.portal.manage(*arguments)
    assert done.returncode == 0, done.stderr
    assert (bucket.keys, list(bucket.store.uploads())) == ([f"{address.prefix}/{done.stdout.strip()}"], [])
