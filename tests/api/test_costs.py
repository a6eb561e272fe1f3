"""The costliest anonymous requests get the right response and take little memory."""

import re
from pathlib import Path

import pytest

from bench.worst import KINDS, MIB
from beta.tests.factories import create_programme

pytestmark = pytest.mark.django_db
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(name):
    """Return VmRSS or VmHWM (the peak since CLEAR), in bytes."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())[1])


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells how much memory a moment took")
@pytest.mark.parametrize("kind", ["nobody", "key"])
def test_worst_requests_without_a_token_take_less_than_32_mib_each(client, settings, kind):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = settings.FEEDBACK_PER_KEY_AND_MINUTE = 1_000
    peaks, statuses = {}, {}
    for request in KINDS[kind](create_programme(kind).public_key):
        CLEAR.write_text("5")
        before = memory("VmRSS")
        answer = client.generic(
            request.method, request.path, request.body, request.content_type, headers=request.headers
        )
        peaks[request.name] = memory("VmHWM") - before
        statuses[request.name] = (answer.status_code, request.status)
    assert {name: peak for name, peak in peaks.items() if peak >= 32 * MIB} == {}
    assert {name: both for name, both in statuses.items() if both[0] != both[1]} == {}
