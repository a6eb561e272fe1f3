"""Tracked requests: caller, route, outcome and duration, but nothing that was sent."""

import io
import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import signals
from django.db import OperationalError, close_old_connections
from django.http import FileResponse, StreamingHttpResponse
from django.test import Client
from django.urls import resolve, reverse
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from portal.desk import exports
from usage.admin.runs import RunAdmin
from usage.api import export
from usage.models import FeatureUsage, UserError
from usage.tests.payloads import run_payload
from usage.tracking import middleware
from usage.tracking.buffer import buffer

pytestmark = pytest.mark.django_db
SECRET = "K4NARI"
POLL = {"HX-Request": "true", "HX-Target": "live"}


@pytest.fixture
def tracked(written_when_asked):
    """Return a function that returns the only tracked request."""

    def read():
        written_when_asked()
        return FeatureUsage.objects.get()

    return read


@pytest.fixture
def failed(written_when_asked):
    def read():
        written_when_asked()
        return UserError.objects.get()

    return read


@pytest.fixture
def fails(monkeypatch):
    """Make the recording of runs raise, with a local variable that must not be stored."""

    def failing(error):
        def record(reports, token):
            secret = SECRET  # noqa: F841 - a frame's variables are no part of what is kept
            raise error

        monkeypatch.setattr("usage.api.runs.record_runs", record)

    return failing


@pytest.fixture
def operator(client):
    user = User.objects.create_superuser("alice", "alice@example.org")
    client.force_login(user)
    buffer.reset()
    return user


class TestTrackedRequests:
    def test_api_call_is_tracked(self, call, client_token, tracked):
        call("POST", "usage/report", client_token, body=run_payload())
        usage = tracked()
        assert (usage.user_email, usage.feature_name) == ("client:gui_v6", "usage-report")
        assert (usage.endpoint, usage.success, usage.source) == ("/api/v1/usage/report", True, "portal")
        assert timedelta() <= timezone.now() - usage.timestamp < timedelta(minutes=1)
        assert usage.duration_ms < 60_000
        assert not UserError.objects.exists()

    def test_page_is_tracked(self, client, operator, tracked):
        client.get("/admin/usage/run/?q=LIC")
        usage = tracked()
        assert (usage.user_email, usage.feature_name) == ("alice@example.org", "admin:usage_run_changelist")
        assert usage.endpoint == "/admin/usage/run/"

    def test_route_is_tracked_instead_of_path(self, call, staff_token, tracked):
        call("GET", f"agents/{SECRET}", staff_token)
        assert tracked().endpoint == "/api/v1/agents/<str:machine_id>"

    def test_duration_is_tracked(self, call, client_token, tracked, monkeypatch):
        ticks = iter([10.0, 10.0, 11.2344, 11.2344])
        monkeypatch.setattr(middleware.time, "perf_counter", lambda: next(ticks))
        call("POST", "usage/report", client_token, body=run_payload())
        assert tracked().duration_ms == 1234

    def test_tracking_needs_no_query(self, client, operator, django_assert_num_queries):
        client.get("/healthz")  # loads the middleware
        with django_assert_num_queries(0):
            client.get("/api/v1/nowhere")
            client.get("/docs/api")
        assert buffer.queued == 2

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/portal/x.css", "/wp-login.php"])
    def test_probes_files_and_unknown_pages_are_not_tracked(self, client, path):
        client.get(path)
        assert buffer.queued == 0

    def test_heartbeats_are_never_tracked(self, call, agent_token):
        call("POST", "agents/heartbeat", agent_token)
        call("POST", "agents/heartbeat")
        assert buffer.queued == 0

    def test_live_part_is_not_tracked_unless_it_fails(self, client, operator, tracked, monkeypatch):
        etag = client.get("/admin/usage/run/", headers=POLL)["ETag"]
        assert client.get("/admin/usage/run/", headers=POLL | {"If-None-Match": etag}).status_code == 304
        assert client.get("/admin/usage/run/999/change/", headers=POLL).status_code == 409
        assert buffer.queued == 0
        monkeypatch.setattr(RunAdmin, "has_view_permission", lambda self, request, obj=None: False)
        assert client.get("/admin/usage/run/", headers=POLL).status_code == 403
        assert not tracked().success

    @pytest.mark.parametrize(
        "path", ["/api/v1/agents/fleet", "/admin/usage/run/export/", "/admin/usage/run/export/xlsx/"]
    )
    def test_header_of_a_poll_hides_no_call_and_no_export(self, client, operator, path):
        token = issue_token("staff", user=operator, label="laptop")[1]
        client.get(path, headers=POLL | {"Authorization": f"Bearer {token}"}).close()
        assert buffer.queued == 1

    def test_excluded_routes_are_not_tracked(self, client, operator, settings):
        settings.TRACKING_EXCLUDE = {"admin:usage_run_changelist"}
        client.get("/admin/usage/run/")
        assert buffer.queued == 0

    def test_unknown_api_call_is_tracked_without_path(self, client, tracked):
        client.get(f"/api/v1/{SECRET}?{SECRET}={SECRET}")
        usage = tracked()
        assert (usage.feature_name, usage.endpoint, usage.success) == ("unknown", "", False)


class TestCaller:
    def test_machine_is_named_by_its_id(self, call, agent_token, tracked):
        call("POST", "agents/token/rotate", agent_token)
        assert tracked().user_email == "agent:PC-1"

    def test_enrolment_is_named_by_its_token(self, call, enroll_token, tracked):
        call("POST", "agents/enroll", enroll_token, machine_id="PC-9")
        assert tracked().user_email == "enroll:installer"

    def test_staff_token_is_named_by_its_user(self, call, tracked):
        bob = User.objects.create_superuser("bob", "bob@example.org")
        call("GET", "agents/fleet", issue_token("staff", user=bob, label="laptop")[1])
        assert tracked().user_email == "bob@example.org"

    def test_address_is_tracked_in_lower_case(self, client, tracked):
        client.force_login(User.objects.create_superuser("bob", "Bob@Example.org"))
        buffer.reset()
        client.get("/admin/usage/run/")
        assert tracked().user_email == "bob@example.org"

    def test_user_without_address_is_named_by_username(self, call, staff_token, tracked):
        call("GET", "agents/fleet", staff_token)
        assert tracked().user_email == "alice"

    def test_session_calling_the_api_is_named_by_its_user(self, client, operator, tracked):
        client.get("/api/v1/agents/fleet")
        assert tracked().user_email == "alice@example.org"

    @pytest.mark.parametrize("token", [None, "vigie_client_nonsense", ""])
    def test_unauthenticated_caller_is_empty(self, call, tracked, token):
        call("POST", "usage/report", token, body=run_payload())
        assert tracked().user_email == ""

    def test_login_and_logout_are_named_by_the_user(self, client, written_when_asked):
        User.objects.create_superuser("alice", "alice@example.org", "a long password")
        client.post("/accounts/login/", {"login": "alice", "password": "a long password"})
        client.post("/admin/logout/")
        written_when_asked()
        assert list(FeatureUsage.objects.order_by("pk").values_list("feature_name", "user_email")) == [
            ("account_login", "alice@example.org"),
            ("admin:logout", "alice@example.org"),
        ]

    @pytest.mark.parametrize("path", ["/admin/monitoring/target/add/", "/api/v1/agents/uninstall"])
    def test_csrf_refusal_is_named_by_the_user(self, operator, failed, path):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(operator)
        buffer.reset()
        assert browser.post(path).status_code == 403
        assert failed().user_email == "alice@example.org"

    def test_too_large_post_is_named_by_the_user(self, client, operator, failed, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(operator)
        buffer.reset()
        browser.cookies["csrftoken"] = "a" * 32
        assert browser.post("/admin/monitoring/target/add/", {"name": "x" * 100}).status_code == 400
        assert failed().user_email == "alice@example.org"


class TestErrors:
    def test_refusal_is_tracked_by_code(self, call, client_token, failed):
        call("POST", "usage/report", client_token, body=run_payload(document_count=SECRET))
        error = failed()
        assert (error.error_type, error.error_code) == ("validation_failed", 400)
        assert error.error_message == "One or more fields are missing or not as documented."
        assert (error.method, error.endpoint, error.stack) == ("POST", "/api/v1/usage/report", [])
        assert error.user_email == "client:gui_v6"
        assert FeatureUsage.objects.get().success is False

    def test_unexpected_error_is_tracked_by_class_and_frames(self, call, client_token, fails, failed):
        fails(KeyError(SECRET))
        call("POST", "usage/report", client_token, body=run_payload())
        error = failed()
        assert (error.error_type, error.error_code) == ("KeyError", 500)
        assert error.error_message == "The failure was logged. Trying again later may help."
        assert error.stack[-1].startswith("usage.tests.test_tracking:record:")
        assert any(frame.startswith("usage.api.runs:post:") for frame in error.stack)
        assert SECRET not in json.dumps(error.stack)

    def test_database_error_is_tracked_as_not_ready(self, call, client_token, fails, failed):
        fails(OperationalError(SECRET))
        call("POST", "usage/report", client_token, body=run_payload())
        error = failed()
        assert (error.error_type, error.error_code) == ("OperationalError", 503)
        assert error.error_message == "The database does not answer. Try again later."

    def test_error_in_middleware_is_tracked(self, written_when_asked, monkeypatch):
        def process_request(middleware, request):
            raise OperationalError(SECRET)

        monkeypatch.setattr(SessionMiddleware, "process_request", process_request)
        answer = Client(raise_request_exception=False).get("/api/v1/agents/fleet")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        monkeypatch.undo()
        buffer.insert(buffer.queue)
        error = UserError.objects.get()
        assert (error.error_type, error.error_code) == ("OperationalError", 503)
        assert error.stack[-1].startswith("usage.tests.test_tracking:process_request:")

    def test_failed_page_is_tracked_with_frames(self, operator, failed, monkeypatch):
        def get_queryset(model_admin, request):
            raise ZeroDivisionError(SECRET)

        monkeypatch.setattr(RunAdmin, "get_queryset", get_queryset)
        client = Client(raise_request_exception=False)
        client.force_login(operator)
        buffer.reset()
        assert client.get("/admin/usage/run/").status_code == 500
        error = failed()
        assert (error.error_type, error.error_code, error.user_email) == ("ZeroDivisionError", 500, "alice@example.org")
        assert error.stack

    def test_missing_page_is_tracked_without_frames(self, client, operator, failed):
        assert client.get(f"/admin/usage/{SECRET}/").status_code == 404
        error = failed()
        assert (error.error_type, error.error_code, error.stack) == ("not_found", 404, [])
        assert SECRET not in error.endpoint

    def test_unknown_method_is_tracked_as_other(self, client, failed):
        client.generic(SECRET, "/api/v1/usage/report")
        assert failed().method == "OTHER"

    def test_failure_of_tracking_does_not_fail_the_request(self, call, client_token, monkeypatch, caplog):
        monkeypatch.setattr(middleware, "caller_of", lambda request: 1 / 0)
        assert call("POST", "usage/report", client_token, body=run_payload()).status_code == 201
        assert "a request could not be tracked" in caplog.text


class TestStreamedResponses:
    """A streamed response is tracked when it ends."""

    @pytest.fixture(params=["usage-export", "admin:usage_run_export"])
    def ask(self, request, operator, monkeypatch):
        """Request an export with the given second chunk. Return the request and the response."""

        def asking(second, **given):
            def pieces(*args):
                yield "one"
                yield second()

            monkeypatch.setitem(export.FORMATS, "csv", (pieces, "text/csv"))
            monkeypatch.setattr(exports, "csv_chunks", pieces)
            client = Client(**given)
            client.force_login(operator)
            buffer.reset()
            answer = client.get(reverse(request.param))
            assert (answer.status_code, buffer.queued) == (200, 0)
            return request.param, answer

        return asking

    def test_duration_includes_streaming(self, ask, tracked, monkeypatch):
        clock = [10.0]
        monkeypatch.setattr(middleware.time, "perf_counter", lambda: clock[0])

        def second():
            clock[0] = 12.5
            return "two"

        asked, answer = ask(second)
        assert answer.getvalue() == b"onetwo"
        usage = tracked()
        assert (usage.feature_name, usage.success, usage.duration_ms) == (asked, True, 2500)
        assert usage.user_email == "alice@example.org"

    def test_error_during_streaming_is_tracked(self, ask, failed):
        _asked, answer = ask(lambda: {}[SECRET])
        with pytest.raises(KeyError):
            answer.getvalue()
        error = failed()
        assert (error.error_type, error.error_code, error.user_email) == ("KeyError", 500, "alice@example.org")
        assert [frame.rpartition(":")[0] for frame in error.stack[-2:]] == [
            f"{__name__}:pieces", f"{__name__}:<lambda>",
        ]  # fmt: skip
        assert SECRET not in json.dumps(error.stack) + error.error_message
        assert FeatureUsage.objects.get().success is False

    def test_error_before_streaming_is_a_response(self, operator, failed, monkeypatch):
        def pieces(*args):
            yield {}[SECRET]

        monkeypatch.setattr(exports, "csv_chunks", pieces)
        client = Client(raise_request_exception=False)
        client.force_login(operator)
        buffer.reset()
        assert client.get(reverse("admin:usage_run_export")).status_code == 500
        assert (failed().error_type, failed().error_code) == ("KeyError", 500)
        assert FeatureUsage.objects.count() == 1

    @pytest.fixture
    def answered(self, rf):
        """Return a response as a server gets it: the test client's cannot be closed early."""

        def answering(answer):
            request = rf.get("/admin/")
            request.resolver_match = resolve("/admin/")
            return middleware.TrackingMiddleware(lambda request: answer)(request)

        return answering

    def test_disconnected_caller_is_no_error(self, answered, tracked):
        left = []

        def pieces():
            try:
                yield "one"
                raise KeyError(SECRET)
            finally:
                left.append("the cursor")

        answer = answered(StreamingHttpResponse(pieces()))
        assert (next(iter(answer)), buffer.queued, left) == (b"one", 0, [])
        ended(answer)
        assert (tracked().success, left) == (True, ["the cursor"])
        assert not UserError.objects.exists()

    def test_caller_that_left_before_the_first_chunk_is_tracked(self, answered, tracked):
        ended(answered(StreamingHttpResponse(iter(["one"]))))
        assert tracked().success is True

    def test_file_response_is_not_wrapped(self, answered, tracked):
        file = io.BytesIO(b"x")
        answer = answered(FileResponse(file))
        assert answer.file_to_stream is file
        assert buffer.queued == 0
        ended(answer)
        assert tracked().success is True


def ended(answer):
    """Close the response as servers do, but keep the test's database connection."""
    signals.request_finished.disconnect(close_old_connections)
    answer.close()
    signals.request_finished.connect(close_old_connections)


class TestSampling:
    def test_successes_are_sampled_and_all_errors_kept(self, settings, monkeypatch):
        settings.TRACKING_SAMPLE_PERCENT = 25
        client, dice = Client(), iter([0.1, 0.3, 0.24, 0.99])
        monkeypatch.setattr(middleware.random, "random", lambda: next(dice))
        for _ in range(4):
            client.get("/docs/api")
        for _ in range(3):
            client.get("/api/v1/nowhere")
        assert [record.feature for record in buffer.queue] == ["error-codes"] * 2 + ["unknown"] * 3

    def test_tracking_off_tracks_nothing(self, settings):
        settings.TRACKING = False
        client = Client()
        client.get("/docs/api")
        client.get("/api/v1/nowhere")
        assert buffer.queued == 0
