"""A canary in every place of the events must not appear anywhere afterwards."""

import json

import pytest
from django.apps import apps

from usage.models import FeatureUsage, UserError, UserSession
from usage.tests.payloads import EVENT_PAYLOADS

pytestmark = pytest.mark.django_db
CANARY = "K4NARI"
PLANTS = [
    f"{CANARY}.pdf",
    f"C:\\Users\\bob\\{CANARY}.pdf",
    f"/home/bob/{CANARY}.pdf",
    f"file:///{CANARY}",
    f"/api/files?name={CANARY}",
    f"/api/files#{CANARY}",
    f"/api/files/{CANARY}.pdf",
    f"https://bob:{CANARY}@example.org/",
    f"vigie_client_0123456789ab_{CANARY}",
    f"Traceback: no such file '{CANARY}'",
    f"Mozilla/5.0 ({CANARY}) Firefox/131.0",
]


def planted():
    """Yield bodies with the canary in unknown keys, as a key, and in place of each value, at any depth."""
    for name, make in EVENT_PAYLOADS.items():
        for plant in PLANTS:
            yield {name: [make() | {"file_name": plant, plant: plant, "meta": {"path": [plant, {plant: plant}]}}]}
            yield {name: [make()], plant: plant, "meta": {plant: [plant]}}
            yield {name: plant}
            yield {name: [plant, [plant], {plant: plant}]}
            yield {name: [make() | {key: value} for key in make() for value in (plant, [plant], {plant: plant})]}


def everything_kept():
    for model in apps.get_models(include_auto_created=True):
        for row in model._default_manager.values_list():
            yield repr(row)


def test_canary_is_in_no_response_log_or_table(call, client_token, caplog, capfd, written_when_asked):
    caplog.set_level(0)
    headers = {"User-Agent": CANARY, "X-File": CANARY}
    answers = [call("POST", "usage/events", client_token, body=body, headers=headers) for body in planted()]
    answers.append(call("POST", f"usage/events?name={CANARY}", client_token, body={}))
    answers.append(call("POST", "usage/events", client_token, body=f'{{"{CANARY}": }}'.encode()))
    answers.append(call("POST", "usage/events", f"vigie_client_{CANARY}", body={}))
    written_when_asked()
    for model in (UserSession, FeatureUsage, UserError):
        stored = model.objects.exclude(source="portal").count()
        assert stored > 20, "nothing was recorded, so nothing was proven"
    assert {answer.status_code for answer in answers} == {200, 400, 401}
    assert any(answer.json().get("dropped_keys") for answer in answers)
    for answer in answers:
        assert CANARY not in answer.content.decode() + json.dumps(dict(answer.headers))
    output = capfd.readouterr()
    assert "POST 200" in caplog.text
    assert CANARY not in output.out + output.err + caplog.text
    assert not [row for row in everything_kept() if CANARY in row]
