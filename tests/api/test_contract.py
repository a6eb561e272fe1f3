"""docs/api.md is executed: its requests are made in order and must give its responses."""

import hashlib
import json
import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.reasons import make_reason
from beta.models import BetaProgramme
from beta.tests.factories import create_feedback
from monitoring.figures import histogram
from monitoring.figures.uptime import DAY, HOUR, floor_to_step
from monitoring.models import Incident, Rollup, Round, Target
from portal.access.tokens.issuing import issue_token
from portal.base.problems import CODES
from usage.models import RunRollup
from usage.tests.factories import create_error, create_feature_usage, create_session

API = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
CALL = re.compile(r"### (GET|POST|PUT) (\S+) \[(\w+)\]\n(.*?)(?=\n##)", re.DOTALL)
BLOCK = re.compile(r"```(?:json|http|xml|csv) (\w+)\n(.*?)```", re.DOTALL)
# The day of the end stands only where it is another one.
PERIOD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d - (\d{4}-\d\d-\d\d )?\d\d:\d\d")
BACKED_UP = "agent_douala_prod_01"
# What stands for a parameter in the addresses of the examples.
PARAMETERS = {
    "PC-LYON-07": "{machine_id}",
    "database/compta_db.sql.gz": "{area}/{name}",
    "jobs/7": "jobs/{job_id}",
    "7fQ2mZk0XcRt9LbVw3Hs5a": "{key}",
}


def resembles(answer, documented):
    """Return whether the documented members have their values; times, dates, tokens and delays are compared by form."""
    if isinstance(documented, dict):
        return isinstance(answer, dict) and all(
            name in answer and resembles(answer[name], value) for name, value in documented.items()
        )
    if isinstance(documented, list):
        return isinstance(answer, list) and len(answer) == len(documented) and all(map(resembles, answer, documented))
    if isinstance(documented, str) and documented.endswith("…"):
        return answer.startswith(documented[:-1])
    if isinstance(documented, str) and PERIOD.fullmatch(documented):
        return PERIOD.fullmatch(answer) is not None
    if isinstance(documented, str) and re.fullmatch(r"\d{4}-\d\d-\d\d(T.*Z| [\d:]{8})?", documented):
        form = re.sub(r"\d", r"\\d", documented.replace(".", r"\."))
        return re.fullmatch(form, answer) is not None
    if documented == 312:
        return 270 <= answer <= 330
    return answer == documented


def written(kind, path, text):
    """Return the arguments of the fixture `call` for a documented request."""
    if kind == "GET":
        return dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)
    if kind == "POST":
        return {"body": json.loads(text)}
    head, _, body = text.partition("\n\n")
    headers = dict(line.split(": ") for line in head.splitlines())
    assert int(headers.pop("Content-Length")) == len(body)
    return {"body": body.encode(), "headers": headers}


@pytest.fixture
def known_backup(db):
    """Create the expected backup that the examples show, with its only entry."""
    at, sha256 = datetime(2026, 3, 10, 13, tzinfo=UTC), hashlib.sha256(b"the bytes, as on the disk\n").hexdigest()
    job = ExpectedBackupJob.objects.create(
        id=7, agent_id=BACKED_UP, database_name="compta_db", expected_hour_utc=13, current_status=Status.SUCCESS,
        last_checked_at=at, last_success_at=at, last_verified_at=timezone.now(),
    )  # fmt: skip
    BackupEntry.objects.create(
        id=91, job=job, cycle_at=at, status=Status.SUCCESS, first_status=Status.SUCCESS, reasons=[make_reason("verified")],
        agent_sha256=sha256, agent_size=26, server_sha256=sha256, server_size=26, promotion="promoted",
        report_name=f"OPERATION_20260310_1300_{BACKED_UP}.json", recorded_at=at, changed_at=at,
    )  # fmt: skip


@pytest.fixture
def known_targets(db):
    """Create the targets that the examples show, one of them with an open incident, and the last round."""
    at = timezone.now()
    api = Target.objects.create(
        id=1, name="API", url="https://api.example.org/health", interval=30, state="up", last_check_at=at,
        badge_key="7fQ2mZk0XcRt9LbVw3Hs5a",
    )  # fmt: skip
    counts = {"checks": 10_000, "failures": 7, "latency_sum_ms": 131.5 * 9_993}
    latencies = {str(histogram.bucket_number(120)): 9_000, str(histogram.bucket_number(180)): 993}
    for period, step in (("hour", HOUR), ("day", DAY)):
        Rollup.objects.create(target=api, period=period, start=floor_to_step(at, step), histogram=latencies, **counts)
    shop = Target.objects.create(id=2, name="Shop", url="https://shop.example.org/", state="down")
    Incident.objects.create(id=3, subject=shop.subject, target=shop, rule="unavailable", opened_at=at)
    figures = {"checks": 12, "failures": 1, "p95_ms": 212.4}
    Round.objects.create(number=1, started_at=at, finished_at=at, **figures)


@pytest.fixture
def known_programme(db):
    yesterday = timezone.localdate() - timedelta(days=1)
    key = "4vKq9ZrT1mXw7BcN2hJs8P"
    return BetaProgramme.objects.create(name="spring-beta", product="GUI v6", starts=yesterday, public_key=key)


@pytest.fixture
def known_opinions(known_programme, known_targets):
    """Create the feedback that the report example shows beyond that of earlier examples."""
    first = timezone.make_aware(datetime.combine(known_programme.starts, time(9)))
    for score in (3, 7, 8, 9, 10):
        create_feedback(known_programme, given_at=first, nps_score=score)
    known_programme.targets.add(Target.objects.get(name="API"))


@pytest.fixture
def known_hours(db):
    """Aggregate the run that the examples report."""
    figures = {"runs": 1, "documents": 2, "succeeded": 1, "failed": 1, "pages": 12}
    hour, names = datetime(2026, 3, 10, 9, tzinfo=UTC), {"app_name": "gui_v6", "app_version": "6.0.3"}
    RunRollup.objects.create(hour=hour, license_ref="LIC-2041", **names, **figures)


@pytest.fixture
def known_activity(db):
    """Create the activity that the summary example shows."""
    now = timezone.now()
    create_session("bob@example.org", now - timedelta(minutes=50), now - timedelta(minutes=5))
    for feature in ("document_upload", "document_upload", "thread_create"):
        create_feature_usage("bob@example.org", now - timedelta(minutes=30), feature)
    create_feature_usage("agent:PC-LYON-07", now - timedelta(minutes=30), "usage-report")
    create_error("bob@example.org", now - timedelta(minutes=30))
    create_error("agent:PC-LYON-07", now - timedelta(minutes=30), "not_ready", 503)


def matches(answer, documented):
    """Compare JSON by its documented members, and anything else by its beginning."""
    if answer.headers["Content-Type"] == "application/json":
        return resembles(answer.json(), json.loads(documented))
    return answer.getvalue().decode().replace("\r\n", "\n").startswith(documented.strip().removesuffix("…"))


@pytest.mark.django_db
def test_every_call_is_answered_as_documented(
    call,
    enroll_token,
    client_token,
    staff_token,
    make_agent,
    known_backup,
    known_targets,
    known_programme,
    known_opinions,
    known_hours,
    known_activity,
    settings,
    tmp_path,
):
    settings.DEPOSITS_ROOT = tmp_path
    tokens = {"enroll": enroll_token, "client": client_token, "staff": staff_token, "anyone": None}
    calls = CALL.findall(API)
    assert len(calls) == 21
    for method, path, kind, text in calls:
        if path.startswith("backups/deposits"):
            tokens["agent"] = issue_agent_token(make_agent(BACKED_UP))
        blocks = dict(BLOCK.findall(text))
        request = written(method, path, blocks.get("request", "{}"))
        address = path.partition("?")[0] if method == "GET" else path
        answer = call(method, address, tokens[kind], **request)
        (status,) = blocks.keys() - {"request"}
        assert answer.status_code == int(status), (path, answer.content)
        assert matches(answer, blocks[status]), (path, answer.content)
        if "api_token" in blocks[status]:
            tokens["agent"] = answer.json()["api_token"]
    assert Agent.objects.get(machine_id="PC-LYON-07").status == "uninstalled"
    assert (tmp_path / BACKED_UP / "database" / "compta_db.sql.gz").read_bytes() == b"the bytes, as on the disk\n"


@pytest.mark.django_db
def test_error_has_the_documented_shape(call, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    documented = json.loads(dict(BLOCK.findall(API))["error"])
    body = {"documents": [{}, {}, {}, {"page_count": "x"}]}
    answer = call("POST", "usage/report", issue_token("client")[1], body=body).json()
    assert {name: answer[name] for name in documented if name != "errors"} == {
        name: documented[name] for name in documented if name != "errors"
    }
    assert documented["errors"][0] in answer["errors"]


def test_every_code_is_documented_with_its_status():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", API, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: entry.status for code, entry in CODES.items()}


@pytest.mark.django_db
def test_schema_lists_exactly_the_documented_calls(client):
    schema = client.get("/api/schema/").content.decode()
    described = {line.strip().rstrip(":") for line in schema.splitlines() if line.startswith("  /api/")}
    documented = set()
    for _method, path, _kind, _text in CALL.findall(API):
        address = path.partition("?")[0]
        for example, parameter in PARAMETERS.items():
            address = address.replace(example, parameter)
        documented.add(f"/api/v1/{address}")
    assert described == documented
