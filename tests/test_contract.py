"""docs/api.md tells the truth: its requests are made, in its order, and give its answers."""

import json
import re
from pathlib import Path

import pytest

from agents.models import Agent
from portal.api.errors import CODES
from portal.issuing import issue

API = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
CALL = re.compile(r"### (GET|POST) (\S+) \[(\w+)\]\n(.*?)(?=\n##)", re.DOTALL)
BLOCK = re.compile(r"```json (\w+)\n(.*?)```", re.DOTALL)


def resembles(answer, documented):
    """Whether the documented members are there with their values; moments, tokens and pauses only by their form."""
    if isinstance(documented, dict):
        return isinstance(answer, dict) and all(
            name in answer and resembles(answer[name], value) for name, value in documented.items()
        )
    if isinstance(documented, list):
        return isinstance(answer, list) and len(answer) == len(documented) and all(map(resembles, answer, documented))
    if isinstance(documented, str) and documented.endswith("…"):
        return answer.startswith(documented[:-1])
    if isinstance(documented, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", documented):
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer) is not None
    if documented == 312:
        return 270 <= answer <= 330
    return answer == documented


@pytest.mark.django_db
def test_every_call_is_answered_as_documented(call, enroll_token, client_token, staff_token):
    tokens = {"enroll": enroll_token, "client": client_token, "staff": staff_token}
    calls = CALL.findall(API)
    assert len(calls) == 8
    for method, path, kind, text in calls:
        blocks = dict(BLOCK.findall(text))
        path, _, query = path.partition("?")
        fields = dict(pair.split("=") for pair in query.split("&") if pair)
        body = json.loads(blocks.get("request", "{}"))
        answer = call(method, path, tokens[kind], **(fields if method == "GET" else {"body": body}))
        (status,) = blocks.keys() - {"request"}
        assert answer.status_code == int(status), (path, answer.content)
        assert resembles(answer.json(), json.loads(blocks[status])), (path, answer.json())
        tokens["agent"] = answer.json().get("api_token", tokens.get("agent"))
    assert Agent.objects.get().status == "uninstalled"


@pytest.mark.django_db
def test_an_error_has_the_documented_shape(call, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    documented = json.loads(dict(BLOCK.findall(API))["error"])
    body = {"documents": [{}, {}, {}, {"page_count": "x"}]}
    answer = call("POST", "usage/report", issue("client")[1], body=body).json()
    assert {name: answer[name] for name in documented if name != "errors"} == {
        name: documented[name] for name in documented if name != "errors"
    }
    assert documented["errors"][0] in answer["errors"]


def test_every_code_is_documented_with_its_status():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", API, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: entry.status for code, entry in CODES.items()}


@pytest.mark.django_db
def test_the_schema_names_every_call_and_no_other(client):
    schema = client.get("/api/schema/").content.decode()
    described = {line.strip().rstrip(":") for line in schema.splitlines() if line.startswith("  /api/")}
    documented = {
        "/api/v1/" + path.partition("?")[0].replace("PC-LYON-07", "{machine_id}") for _, path, _, _ in CALL.findall(API)
    }
    assert described == documented
