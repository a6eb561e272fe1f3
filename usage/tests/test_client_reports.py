"""The client package's reports of runs and the portal, over a real socket."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import vigie_client
from django.conf import settings
from django.db import connections
from vigie_client import (
    UsageReporter,
    UsageTelemetryClient,
    build_usage_payload,
    flush_spool,
    make_session,
    new_run_id,
    spool_payload,
    spool_stats,
)
from vigie_client.cli import main

from agents.models import Agent
from portal.access.tokens.issuing import issue_token
from portal.tests.helpers.waiting import PATIENCE
from usage.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def portal(live_server, tmp_path, monkeypatch):
    """Return the portal's URL, and pretend that this machine is `PC-Éric 01` with an empty state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIGIE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("socket.gethostname", lambda: "PC-Éric 01")
    yield live_server.url
    connections.close_all()


def enrol(portal):
    Path("enrol.token").write_text(issue_token("enroll", label="x")[1])
    assert main(["enroll", "--server", portal, "--token-file", "enrol.token", "--timeout", "60"]) == 0


def test_first_example_of_readme_reports_a_run(portal, monkeypatch):
    monkeypatch.setattr(vigie_client, "UsageReporter", partial(UsageReporter, timeout=PATIENCE))
    enrol(portal)
    readme = (Path(settings.BASE_DIR) / "client" / "README.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace("https://vigie.example.org", portal)
    Path("scan.png").touch()
    for _ in range(2):
        exec(example, {"paths": [Path("scan.png")]})
    assert Run.objects.count() == 2
    assert set(Run.objects.values_list("machine_id", "total_pages")) == {(Agent.objects.get().machine_id, 1)}
    stats = spool_stats("usage.jsonl")
    assert (stats.pending, stats.quarantined) == (0, 0)


def run(**fields):
    return build_usage_payload(run_id=new_run_id(), app_name="gui", app_version="1", **fields)


def test_runs_of_another_machine_stay_spooled(portal):
    enrol(portal)
    token = json.loads(Path("state/token.json").read_text())["api_token"]
    client = UsageTelemetryClient(portal, make_session(token), timeout=60)
    for count in (1, 3):
        spool = f"{count}.jsonl"
        assert all(spool_payload(spool, run(machine_id="ANOTHER")) for _ in range(count))
        assert flush_spool(spool, client) == 0
        stats = spool_stats(spool)
        assert (stats.pending, stats.quarantined) == (count, 0)
    spool_payload("3.jsonl", run(machine_id=Agent.objects.get().machine_id))
    assert sum(flush_spool("3.jsonl", client, force=True) for _ in range(2)) == 1


def test_refused_run_of_a_batch_is_quarantined(portal):
    client = UsageTelemetryClient(portal, make_session(issue_token("client", label="gui")[1]), timeout=60)
    payloads = [run() for _ in range(4)]
    payloads[1]["total_pages"] = 7
    payloads[2]["nested"] = json.loads("[" * 40 + "]" * 40)
    assert all(spool_payload("usage.jsonl", payload) for payload in payloads)
    assert flush_spool("usage.jsonl", client, timeout=60) == 2
    records = map(json.loads, Path("usage.jsonl.quarantine").read_text().splitlines())
    assert [record["code"] for record in records] == ["counters_mismatch", "body_too_deep"]


def test_wrong_prefix_or_host_keeps_runs_spooled(portal, settings):
    token = issue_token("client", label="gui")[1]
    spool_payload("usage.jsonl", run())
    for name, hosts in (("/vigie", ["*"]), ("", ["vigie.example.org"])):
        settings.ALLOWED_HOSTS = hosts
        client = UsageTelemetryClient(portal + name, make_session(token), timeout=60)
        assert flush_spool("usage.jsonl", client, force=True) == 0
    settings.ALLOWED_HOSTS = ["*"]
    assert flush_spool("usage.jsonl", UsageTelemetryClient(portal, make_session(token), timeout=60), force=True) == 1
