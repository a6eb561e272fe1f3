"""Events: recorded, resent, conflicting and invalid."""

import uuid
from datetime import UTC, datetime

import pytest

from usage.models import FeatureUsage, UserError, UserSession
from usage.tests.payloads import EVENT_PAYLOADS, error_event, feature_event, session_event

pytestmark = pytest.mark.django_db
MODELS = {"sessions": UserSession, "features": FeatureUsage, "errors": UserError}
END = "2026-03-10T09:30:00Z"


@pytest.fixture
def send_events(call, client_token):
    return lambda token=client_token, **lists: call("POST", "usage/events", token, body=lists)


@pytest.fixture
def statuses(send_events):
    """Return a function that sends one list and returns the status of each item."""

    def telling(name, *items):
        answer = send_events(**{name: list(items)})
        assert answer.status_code == 200, answer.content
        return [result["status"] for result in answer.json()["results"][name]]

    return telling


def test_events_are_recorded(send_events):
    payload = {"sessions": [session_event(session_end=END)], "features": [feature_event()], "errors": [error_event()]}
    answer = send_events(**payload)
    assert answer.status_code == 200
    assert answer.json() == {
        "results": {
            name: [{"id": items[0]["id"], "status": "recorded", "code": None}] for name, items in payload.items()
        },
        "dropped_keys": 0,
    }
    stored = UserSession.objects.get()
    assert (stored.event_id.hex, stored.user_email) == (payload["sessions"][0]["id"], "bob@example.org")
    assert (stored.source, stored.ip, stored.user_agent) == ("client:gui_v6", "", "vigie-client 1")
    assert stored.session_start == datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert (stored.session_end, stored.duration_seconds) == (datetime(2026, 3, 10, 9, 30, tzinfo=UTC), 5400)
    use = FeatureUsage.objects.get()
    assert (use.feature_name, use.endpoint, use.success) == ("document_upload", "/api/documents/upload", True)
    assert (use.timestamp, use.duration_ms) == (datetime(2026, 3, 10, 8, 1, tzinfo=UTC), 120)
    failed = UserError.objects.get()
    assert (failed.method, failed.error_type, failed.error_code) == ("POST", "ValidationError", 400)
    assert (failed.error_message, failed.stack) == ("", [])


def test_agent_token_may_send_events(send_events, agent_token):
    assert send_events(agent_token, features=[feature_event()]).json()["results"]["features"][0]["status"] == "recorded"
    assert FeatureUsage.objects.get().source.startswith("agent:")


@pytest.mark.parametrize("token", ["enroll_token", "staff_token"])
def test_other_tokens_are_refused_with_403(send_events, token, request):
    answer = send_events(request.getfixturevalue(token), features=[feature_event()])
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_resent_event_is_a_duplicate(statuses, name):
    payload = EVENT_PAYLOADS[name]()
    assert [statuses(name, payload), statuses(name, payload)] == [["recorded"], ["duplicate"]]
    assert MODELS[name].objects.count() == 1


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_invalid_event_does_not_affect_others(statuses, name):
    known, fresh = EVENT_PAYLOADS[name](), EVENT_PAYLOADS[name]()
    statuses(name, known)
    sent = [fresh, known, known | {"user_email": "eve@example.org"}, {"id": "none"}, 7, fresh]
    assert statuses(name, *sent) == ["recorded", "duplicate", "conflict", "invalid", "invalid", "duplicate"]
    assert MODELS[name].objects.count() == 2


def test_equivalent_spelling_is_a_duplicate(statuses):
    payload = feature_event()
    statuses("features", payload)
    same = payload | {
        "id": str(uuid.UUID(payload["id"])).upper(),
        "user_email": "Bob@Example.ORG",
        "timestamp": "2026-03-10T09:01:00+01:00",
        "endpoint": "/api/documents/upload?name=secret#page",
    }
    assert statuses("features", same) == ["duplicate"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sessions", {"user_email": "eve@example.org"}), ("sessions", {"session_start": "2026-03-10T08:00:01Z"}),
        ("features", {"user_email": "eve@example.org"}), ("features", {"feature_name": "x"}), ("features", {"endpoint": None}),
        ("features", {"timestamp": END}), ("features", {"success": False}), ("features", {"duration_ms": None}),
        ("errors", {"user_email": "eve@example.org"}), ("errors", {"endpoint": "/x"}), ("errors", {"method": "GET"}),
        ("errors", {"error_type": "x"}), ("errors", {"error_code": None}), ("errors", {"timestamp": END}),
    ],
)  # fmt: skip
def test_known_id_with_other_content_conflicts(send_events, name, change):
    payload = EVENT_PAYLOADS[name]()
    send_events(**{name: [payload]})
    before = MODELS[name].objects.values().get()
    (result,) = send_events(**{name: [payload | change]}).json()["results"][name]
    assert result == {"id": payload["id"], "status": "conflict", "code": "event_conflict"}
    assert MODELS[name].objects.values().get() == before


def test_session_end_is_recorded_once(statuses):
    started = session_event()
    ended = started | {"session_end": END}
    assert [statuses("sessions", payload)[0] for payload in (started, ended, ended, started)] == [
        "recorded", "recorded", "duplicate", "duplicate",
    ]  # fmt: skip
    assert statuses("sessions", started | {"session_end": "2026-03-10T10:00:00Z"}) == ["conflict"]
    stored = UserSession.objects.get()
    assert (stored.session_end, stored.duration_seconds) == (datetime(2026, 3, 10, 9, 30, tzinfo=UTC), 5400)


@pytest.mark.parametrize("change", [{"user_email": "eve@example.org"}, {"session_start": "2026-03-10T08:00:01Z"}])
def test_session_of_another_user_conflicts(statuses, change):
    started = session_event()
    assert statuses("sessions", started, started | change | {"session_end": END}) == ["recorded", "conflict"]
    assert UserSession.objects.get().session_end is None


def test_session_start_and_end_may_be_in_one_call(statuses):
    started, other = session_event(), session_event()
    payload = [
        started,
        started | {"session_end": END},
        other | {"session_end": END},
        started | {"session_end": END},
        other,
    ]
    assert statuses("sessions", *payload) == ["recorded", "recorded", "recorded", "duplicate", "duplicate"]
    assert set(UserSession.objects.values_list("duration_seconds", flat=True)) == {5400}


def test_first_of_two_session_ends_wins(statuses):
    started = session_event()
    later = started | {"session_end": "2026-03-10T10:00:00Z"}
    assert statuses("sessions", started, started | {"session_end": END}, later) == ["recorded", "recorded", "conflict"]
    assert UserSession.objects.get().duration_seconds == 5400


def test_session_may_end_as_it_starts(statuses):
    payload = session_event(session_end=session_event()["session_start"])
    assert statuses("sessions", payload) == ["recorded"]
    assert UserSession.objects.get().duration_seconds == 0


def test_feature_and_error_may_share_an_id(send_events):
    payload = feature_event()
    results = send_events(features=[payload], errors=[error_event(id=payload["id"])]).json()["results"]
    assert (results["features"][0]["status"], results["errors"][0]["status"]) == ("recorded", "recorded")


def test_invalid_event_returns_its_id_as_sent(send_events):
    sent = [str(uuid.uuid4()), uuid.uuid4().hex, str(uuid.uuid4()).upper()]
    results = send_events(errors=[error_event(id=given, timestamp=None) for given in sent]).json()["results"]["errors"]
    assert results == [{"id": given, "status": "invalid", "code": "validation_failed"} for given in sent]


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_id_other_than_uuid_is_invalid(send_events, name):
    sent = [None, "", "x", 7, True, ["x"], "{0f8fad5b-d9cb-469f-a165-70867728950e}"]
    results = send_events(**{name: [EVENT_PAYLOADS[name](id=given) for given in sent]}).json()["results"][name]
    assert [(result["id"], result["status"]) for result in results] == [(None, "invalid")] * len(sent)


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_missing_required_field_is_invalid(statuses, name):
    optional = {"session_end", "user_agent", "endpoint", "duration_ms", "method", "error_code"}
    for key in EVENT_PAYLOADS[name]():
        absent = {other: value for other, value in EVENT_PAYLOADS[name]().items() if other != key}
        expected = ["recorded" if key in optional else "invalid"] * 2
        assert statuses(name, absent, EVENT_PAYLOADS[name](**{key: None})) == expected, key


# Cases of the rules themselves are in `client/tests/test_wire_rules.py`: each table is one call here.


def test_user_email_other_than_address_is_invalid(statuses):
    refused = ["bob", "bob@example.org\n", " bob@example.org", "client:gui", "<bob@example.org>", "agent:PC-1@example.org",
               "b b@example.org", "bob.@example.org", "bob@example.org.", "a/b@example.org", "b\x00b@example.org",
               "vigie_client_0123456789ab_secret@example.org", 7, True, [], {}]  # fmt: skip
    sent = [feature_event(user_email=given) for given in refused]
    assert statuses("features", *sent) == ["invalid"] * len(refused)


def test_email_is_stored_in_lower_case(statuses):
    accepted = [
        "Bob.Martin+x@Mail.Example.ORG",
        "o'neil@example.co.uk",
        "bob@localhost",
        "Jérôme@Example.org",
        "bob@10.0.0.1",
    ]
    sent = [feature_event(user_email=given) for given in accepted]
    assert statuses("features", *sent) == ["recorded"] * len(accepted)
    stored = FeatureUsage.objects.values_list("user_email", flat=True)
    assert set(stored) == {given.lower() for given in accepted}


def test_feature_name_with_path_or_file_is_invalid(statuses):
    refused = ["", " ", "C:\\secret", "a/b", "é", "a\nb", "x" * 129, "vigie_client_0123456789ab_secret", 7, True, [], {},
               "Contract Dupont-2024.pdf", "secret.pdf", "open secret.docx now", "secret.pdf:3"]  # fmt: skip
    assert statuses("features", *(feature_event(feature_name=given) for given in refused)) == ["invalid"] * len(refused)
    assert statuses("errors", *(error_event(error_type=given) for given in refused)) == ["invalid"] * len(refused)


def test_feature_name_may_have_spaces_and_dots(statuses):
    accepted = ["document upload", "export v2.0", "documents.list.export", "a:b+c-d_e", "v1.2"]
    sent = [feature_event(feature_name=given) for given in accepted]
    assert statuses("features", *sent) == ["recorded"] * len(accepted)


def test_error_type_with_message_is_invalid(statuses):
    refused = [
        "password hunter2 refused for jean.dupont",
        "Contract Dupont-2024.pdf",
        "no such file",
        "404",
        "a:b",
        "E-42",
    ]
    assert statuses("errors", *(error_event(error_type=given) for given in refused)) == ["invalid"] * len(refused)


def test_error_type_is_a_class_or_code(statuses):
    accepted = ["ValueError", "requests.exceptions.HTTPError", "_hidden", "upload_failed", "E42", "x" * 128]
    assert statuses("errors", *(error_event(error_type=given) for given in accepted)) == ["recorded"] * len(accepted)


def test_success_other_than_boolean_is_invalid(statuses):
    refused = [0, 1, "true", "True", [], {}, 1.0]
    assert statuses("features", *(feature_event(success=given) for given in refused)) == ["invalid"] * len(refused)


def test_number_other_than_integer_is_invalid(statuses):
    refused = [True, "2", 2.0, -1, 2**31, 10**30, [], {}]
    assert statuses("features", *(feature_event(duration_ms=given) for given in refused)) == ["invalid"] * len(refused)
    assert statuses("errors", *(error_event(error_code=given) for given in refused)) == ["invalid"] * len(refused)


def test_timestamp_without_offset_is_invalid(statuses):
    refused = ["2026-03-10", "2026-03-10T09:20:00", "yesterday", 1773134400, True, {}]
    invalid = ["invalid"] * len(refused)
    assert statuses("features", *(feature_event(timestamp=given) for given in refused)) == invalid
    assert statuses("errors", *(error_event(timestamp=given) for given in refused)) == invalid
    for field in ("session_start", "session_end"):
        assert statuses("sessions", *(session_event(**{field: given}) for given in refused)) == invalid


def test_unknown_method_is_stored_as_other(statuses):
    methods = {
        "POST": "POST",
        "delete": "DELETE",
        "BREW": "OTHER",
        "POST /secret": "OTHER",
        "OTHER": "OTHER",
        7: "OTHER",
        (): "OTHER",
        None: "",
    }
    for given, stored in methods.items():
        event = error_event(method=given)
        assert statuses("errors", event) == ["recorded"]
        assert UserError.objects.get(event_id=event["id"]).method == stored, given


def test_user_agent_is_reduced_to_browser_and_system(statuses):
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0 secret"
    for given, stored in ((firefox, "Firefox 131, Linux"), ("secret", ""), ("", ""), (None, "")):
        event = session_event(user_agent=given)
        assert statuses("sessions", event) == ["recorded"]
        assert UserSession.objects.get(event_id=event["id"]).user_agent == stored, given


def test_user_agent_other_than_text_is_invalid(statuses):
    assert statuses("sessions", *(session_event(user_agent=given) for given in (7, True, [], {}))) == ["invalid"] * 4


def test_undocumented_keys_are_dropped_and_counted(send_events):
    answer = send_events(
        sessions=[session_event(ip="10.0.0.1", user_email="x", a=1)],
        features=[feature_event(body={"a": {"b": 1}})],
        errors=[error_event(error_message="secret", stack=["x"])],
        meta={"a": 1},
    )
    assert answer.json()["dropped_keys"] == 6
    assert UserError.objects.get().stack == []


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(("name", "given"), [("sessions", {}), ("features", "x"), ("errors", 7), ("errors", True)])
def test_value_other_than_list_is_refused(send_events, name, given):
    answer = send_events(**{name: given})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, name)
    assert answer.json()["errors"][0]["code"] == "not_a_list"


def test_more_than_500_events_are_refused(send_events):
    lists = {"sessions": [session_event() for _ in range(150)], "errors": [error_event() for _ in range(150)]}
    answer = send_events(**lists, features=[feature_event() for _ in range(201)])
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "too_many")
    assert not FeatureUsage.objects.exists()
    assert send_events(**lists, features=[feature_event() for _ in range(200)]).status_code == 200
    counts = {name: model.objects.count() for name, model in MODELS.items()}
    assert counts == {"sessions": 150, "features": 200, "errors": 150}


def test_empty_call_is_accepted(send_events):
    answer = send_events()
    assert answer.json() == {"results": {"sessions": [], "features": [], "errors": []}, "dropped_keys": 0}


def test_500_events_need_same_queries_as_three(send_events, django_assert_max_num_queries):
    def payload(count):
        return {name: [make() for _ in range(count)] for name, make in EVENT_PAYLOADS.items()}

    send_events(**payload(1))
    many = payload(166)
    for expected in ("recorded", "duplicate"):
        with django_assert_max_num_queries(9):
            results = send_events(**many).json()["results"]
        assert {result["status"] for each in results.values() for result in each} == {expected}


def test_500_session_ends_need_few_queries(send_events, django_assert_max_num_queries):
    started = [session_event() for _ in range(500)]
    send_events(sessions=started)
    with django_assert_max_num_queries(9):
        results = send_events(sessions=[each | {"session_end": END} for each in started]).json()["results"]["sessions"]
    assert {result["status"] for result in results} == {"recorded"}
    assert UserSession.objects.filter(duration_seconds=5400).count() == 500


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_events_are_inserted_sorted_by_id(statuses, name):
    """Otherwise two calls with the same events in another order deadlock on PostgreSQL."""
    payload = sorted((EVENT_PAYLOADS[name]() for _ in range(20)), key=lambda item: item["id"], reverse=True)
    statuses(name, *payload)
    written = [event_id.hex for event_id in MODELS[name].objects.order_by("id").values_list("event_id", flat=True)]
    assert written == [item["id"] for item in reversed(payload)]
