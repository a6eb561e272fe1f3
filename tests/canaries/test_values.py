"""Data that must not be stored: canaries are planted wherever a caller can send a value, and searched for everywhere."""

import hashlib
import itertools
import json

import pytest
from django.contrib.auth.models import User

from portal.access.tokens.issuing import issue_token
from tests.canaries import CANARY, everything_kept
from usage.models import Run
from usage.tests.payloads import document_payload, run_payload

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("what is kept of a report is decided before any query")]
# A file name, two paths and a URL, as a careless client would send them.
PLANTS = [f"{CANARY}.pdf", f"C:\\Users\\bob\\{CANARY}.pdf", f"/home/bob/{CANARY}.pdf", f"file:///{CANARY}"]
NOT_IDENTIFIERS = [
    "run_id",
    "started_at",
    "sent_at",
    "document_count",
    "succeeded_count",
    "failed_count",
    "total_pages",
    "documents",
]


def planted():
    """Return reports with the canary everywhere except in the four identifiers: unknown keys, values, documents, at any depth."""
    for plant in PLANTS:
        yield run_payload() | {"file_name": plant, plant: plant, "meta": {"path": [plant, {plant: plant}]}}
        yield run_payload([document_payload(path=plant, **{plant: 1}), document_payload(name={plant: plant})])
        yield run_payload([document_payload(status=plant)], succeeded_count=0, failed_count=0)
        yield run_payload([document_payload(extension=plant)])
        for field in NOT_IDENTIFIERS:
            for value in (plant, [plant], {plant: plant}):
                yield run_payload() | {field: value}
        for field in document_payload():
            yield run_payload() | {"documents": [document_payload() | {field: [plant]}]}
    # In an identifier only what has the form of one is kept: a path has not.
    for field in ("license_ref", "machine_id", "app_name", "app_version"):
        yield run_payload() | {field: PLANTS[1]}
        yield run_payload() | {field: PLANTS[2]}


def misfits():
    """Return invalid deposits with the canary in each place that makes them invalid, and in a body."""
    name, digest, body = "x.sql.gz", hashlib.sha256(CANARY.encode()).hexdigest(), CANARY.encode()
    yield f"database/{CANARY}.pdf", digest, body
    yield f"database/C%3A%5C{CANARY}.gz", digest, body
    yield f"database/%0A{CANARY}.gz", digest, body
    yield f"log/{CANARY}.gz", digest, body
    yield f"{CANARY}/{name}", digest, body
    yield f"database/%2e%2e%2f{CANARY}.gz", digest, body
    yield f"database/{name}?{CANARY}={CANARY}", CANARY, body
    yield f"database/{CANARY}.gz", digest, body + b"!"  # another hash: even a good name is not said again


@pytest.fixture
def send_all(call, client, client_token, agent_token, capfd, caplog, settings, tmp_path):
    caplog.set_level(0)
    settings.DEPOSITS_ROOT = tmp_path
    answers = [call("POST", "usage/report", client_token, body=body) for body in planted()]
    for body in planted():
        answers.append(call("POST", "usage/report/batch", client_token, body={"runs": [body], CANARY: CANARY}))
    answers.append(call("POST", "usage/report", client_token, body=f'{{"{CANARY}": }}'.encode()))
    answers.append(
        call(
            "POST",
            f"usage/report?file={CANARY}",
            client_token,
            body=run_payload(),
            headers={"X-File": CANARY, "User-Agent": CANARY},
        )
    )
    answers.append(call("POST", f"usage/{CANARY}", client_token))
    answers.append(call("GET", f"agents/C%3A%5C{CANARY}.pdf", agent_token))
    answers.append(call("GET", f"agents/{CANARY}", agent_token))
    answers.append(call("POST", f"../../admin/{CANARY}", client_token))
    for path, digest, body in misfits():
        headers = {"X-Content-SHA256": digest}
        answers.append(call("PUT", f"backups/deposits/{path}", agent_token, body=body, headers=headers))
    answers.append(call("GET", "agents/fleet", headers={"Host": f"{CANARY}.example.org"}))
    client.post(f"/admin/{CANARY}/", {CANARY: CANARY})  # redirects to the login with where it wanted to go
    output = capfd.readouterr()
    return answers, output.out + output.err + caplog.text


def test_canary_is_in_no_response_log_or_table(send_all):
    answers, logs = send_all
    assert Run.objects.count() > 20, "nothing was recorded, so nothing was proven"
    assert any(run.dropped_keys for run in Run.objects.all())
    for answer in answers:
        assert CANARY not in answer.content.decode() + json.dumps(dict(answer.headers))
    assert "POST 201" in logs
    assert CANARY not in logs
    assert not [row for row in everything_kept() if CANARY in row]


def test_canary_is_on_no_admin_page(send_all, client):
    client.force_login(User.objects.create_superuser("alice"))
    run_pages = [f"/admin/usage/run/{pk}/change/" for pk in Run.objects.values_list("pk", flat=True)[:40]]
    for path in itertools.chain(["/admin/", "/admin/usage/run/", "/admin/portal/auditevent/"], run_pages):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert CANARY not in answer.content.decode()


def test_deposited_content_is_only_on_disk(call, agent_token, settings, tmp_path, caplog, capfd):
    caplog.set_level(0)
    settings.DEPOSITS_ROOT, body = tmp_path, CANARY.encode()
    headers = {"X-Content-SHA256": hashlib.sha256(body).hexdigest()}
    report = "log/OPERATION_20250612_1304_PC-1.json"
    for path, status in ((f"database/{CANARY}.sql.gz", 201), (report, 201), (f"log/{CANARY}.json", 400)):
        assert call("PUT", f"backups/deposits/{path}", agent_token, body=body, headers=headers).status_code == status
    output = capfd.readouterr()
    assert "PUT 201" in caplog.text
    assert CANARY not in output.out + output.err + caplog.text
    assert not [row for row in everything_kept() if CANARY in row]


def test_token_is_in_no_log_or_table(call, client, enroll_token, agent_token, caplog, capfd):
    caplog.set_level(0)
    plain = issue_token("client", label="gui")[1]
    secret = plain.split("_")[3]
    call("POST", "usage/report", plain, body=run_payload())
    call("POST", "usage/report", plain, body=run_payload() | {"license_ref": plain, "x": plain})
    call("POST", "usage/report", plain[:-1], body=run_payload(app_name=plain[:20]))
    call("POST", "agents/enroll", enroll_token, machine_id=plain)
    call("POST", "agents/enroll", enroll_token, machine_id="PC-1", hostname=plain, user_name=f"Bob {plain}")
    client.get(f"/api/v1/agents/{plain}")
    call("GET", f"agents/{plain}", agent_token)
    output = capfd.readouterr()
    assert secret not in output.out + output.err
    assert not [row for row in everything_kept() if secret in row]
