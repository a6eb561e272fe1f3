"""Probes of hostile servers, and what holds for each of them."""

import time
from typing import Any

from monitoring.probe.http import ProbeOutcome
from monitoring.probe.http import probe_http as probe_once
from monitoring.probe.spec import Spec
from portal.tests.helpers.hostile_servers import Behaviour, Server

HELD = ("", "")


def probe(spec: Spec, **options: Any) -> ProbeOutcome:
    """Probe, and require what holds for each check: it ends within its timeout, and only a success has a latency."""
    started = time.monotonic()
    outcome = probe_once(spec, **options)
    assert time.monotonic() - started < spec.timeout + 1
    assert (outcome.latency_ms is None) is bool(outcome.error_kind)
    assert len(outcome.detail) <= 200
    return outcome


def ask(behave: Behaviour, /, *, reads: bool = True, **spec: Any) -> tuple[str, str]:
    """Return the kind of error and the detail that a probe of this server ends with."""
    with Server(behave, reads=reads) as server:
        outcome = probe(Spec(server.url, **{"timeout": 5.0} | spec))
    return outcome.error_kind, outcome.detail
