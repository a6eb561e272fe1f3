"""Log lines and what they must never contain."""

import json
import logging

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client

from portal.access.tokens import credential
from portal.base.logs import SUSPICIOUS, JsonFormatter


def line(message, *arguments, error=None):
    info = (type(error), error, None) if error else None
    record = logging.LogRecord("vigie.test", logging.ERROR, "x.py", 1, message, arguments, info)
    return json.loads(JsonFormatter().format(record))


def test_log_line_is_json_with_time_level_and_logger():
    found = line("%s failed", "backup")
    assert (found["level"], found["logger"], found["message"]) == ("ERROR", "vigie.test", "backup failed")
    assert found["at"].endswith("Z")


def test_token_is_redacted_in_messages_arguments_and_tracebacks():
    token = credential.mint_token("agent")
    found = json.dumps(line("bad %s", str(token), error=ValueError(f"refused {token}")))
    assert token.secret not in found
    assert f"vigie_agent_{token.key}_" in found


@pytest.mark.django_db
def test_access_log_has_the_route_without_path_or_query(call, staff_token, caplog, agent):
    caplog.set_level(logging.INFO, "vigie.access")
    call("GET", "agents/PC-1", staff_token, secret="x")
    (record,) = [record for record in caplog.records if record.name == "vigie.access"]
    assert (record.getMessage(), record.route) == ("GET 200", "api/v1/agents/<str:machine_id>")
    assert "PC-1" not in JsonFormatter().format(record)


@pytest.mark.django_db
def test_probes_are_not_logged(client, caplog):
    caplog.set_level(logging.INFO, "vigie.access")
    client.get("/healthz")
    assert not [record for record in caplog.records if record.name == "vigie.access"]


def test_suspicious_operations_are_logged_without_a_path():
    def kinds(error):
        return [error, *(kind for child in error.__subclasses__() for kind in kinds(child))]

    ours = {kind.__name__ for kind in kinds(SuspiciousOperation) if kind.__module__.startswith("django.")}
    assert ours <= set(SUSPICIOUS)


@pytest.mark.parametrize(
    ("level", "message", "arguments", "said"),
    [
        (logging.INFO, "Listening at: %s (%s)", ("http://[::]:80", 1), "Listening at: http://[::]:80 (1)"),
        (logging.CRITICAL, "WORKER TIMEOUT (pid:%s)", (7,), "WORKER TIMEOUT (pid:7)"),
        (logging.ERROR, "Worker (pid:%s) was sent %s!", (7, "SIGKILL"), "Worker (pid:7) was sent SIGKILL!"),
        (logging.ERROR, "Connection in use: %s", ("('::', 80)",), "Connection in use: ('::', 80)"),
        (logging.ERROR, "Error handling request %s %s", ("GET", "/?q=PLANTED"), "a request failed"),
        (logging.WARNING, "Invalid request from ip=::1: PLANTED", (), "a request failed"),
        (logging.ERROR, "whatever it says one day: %s", ("PLANTED",), "a request failed"),
        (logging.DEBUG, "Ignored premature client disconnection. %s", ("PLANTED",), None),
    ],
)
def test_gunicorn_logs_its_lifecycle_but_no_requests(level, message, arguments, said, caplog):
    logger = logging.getLogger("gunicorn.error")
    caplog.set_level(logging.DEBUG, logger.name)
    logger.log(level, message, *arguments)
    assert [record.getMessage() for record in caplog.records] == [said] * (said is not None)


@pytest.mark.django_db
class TestDjangoLogLines:
    def lines(self, caplog):
        return " ".join(JsonFormatter().format(record) for record in caplog.records)

    def test_suspicious_request_is_logged_without_host_or_path(self, client, caplog):
        client.get("/admin/PLANTED.pdf", headers={"Host": "planted.example.org"})
        assert "django.security.DisallowedHost" in self.lines(caplog)
        assert "planted" not in self.lines(caplog).lower()

    def test_refused_lookup_is_logged_as_a_warning(self, admin_client, caplog):
        assert admin_client.get("/admin/auth/user/?password__startswith=PLANTED").status_code == 400
        [record] = [record for record in caplog.records if record.name.startswith("django.security")]
        assert (record.levelname, "PLANTED" in self.lines(caplog)) == ("WARNING", False)

    def test_form_without_csrf_token_is_logged_without_a_path(self, caplog):
        Client(enforce_csrf_checks=True).post("/admin/PLANTED.pdf/")
        assert "PLANTED" not in self.lines(caplog)

    def test_failing_page_is_logged_by_its_place_without_path_or_exception_text(self, admin_user, monkeypatch, caplog):
        said = "PLANT" + "ED"  # the line of the code itself stands in the log

        def fail(*args):
            try:
                raise KeyError(said)
            except KeyError as error:
                raise RuntimeError(said) from error

        monkeypatch.setattr("portal.desk.site.current_tiles", fail)
        client = Client(raise_request_exception=False)
        client.force_login(admin_user)
        assert client.get("/admin/?q=PLANTED").status_code == 500
        assert all(told in self.lines(caplog) for told in ("builtins.RuntimeError", "builtins.KeyError", "in fail"))
        assert "PLANTED" not in self.lines(caplog)
