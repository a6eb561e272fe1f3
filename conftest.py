"""Fixtures for every test of the portal."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client, TransactionTestCase, override_settings
from django.utils import timezone, translation

from agents.enrolment import issue_agent_token
from agents.models import Agent
from portal.access.tokens.issuing import issue_token
from portal.base.private_files import create_data_directory
from portal.models import Heartbeat
from portal.tests.helpers.rows import delete_all_rows
from portal.tests.helpers.waiting import PATIENCE
from portal.work.processes import HOST, node_component
from usage.tracking.buffer import buffer

Call = Callable[..., Any]
# As every process of the portal; otherwise its commands would warn of the test database.
os.umask(0o077)
create_data_directory()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a test by its argument, not by bytes or long text: tokens and archives differ from process to process."""
    return argname if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 40) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out on SQLite what only PostgreSQL has; skipping is for what a machine lacks, and CI lacks nothing."""
    if connection.vendor == "sqlite":
        left_out = [item for item in items if item.get_closest_marker("postgresql")]
        items[:] = [item for item in items if not item.get_closest_marker("postgresql")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", autouse=True)
def quick_portal() -> Iterator[None]:
    """Set for the whole run what each test would need to set.

    Tests with transactions of their own end by deleting their rows, not by truncating every table. Passwords are hashed
    quickly: the real hasher takes half a second. Pages are rendered without collecting the static files first. No
    thread writes tracked requests: it would not see the test's transaction. No findings and reports are kept: a test
    changes rows without the events that an operator's action leaves.
    """
    static_files = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    hashers = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    with (
        override_settings(STORAGES=settings.STORAGES | {"staticfiles": static_files}, PASSWORD_HASHERS=hashers),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(TransactionTestCase, "_fixture_teardown", delete_all_rows)
        patch.setattr(buffer, "start", lambda: None)
        patch.setattr("portal.desk.findings.FRESH_SECONDS", 0)
        patch.setattr("beta.report.recent.KEPT_SECONDS", 0)
        yield


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Begin each test in the portal's language, which a request may change in the thread, and with nothing tracked."""
    translation.activate(settings.LANGUAGE_CODE)
    yield
    buffer.reset()


@pytest.fixture
def written_when_asked() -> Callable[[], None]:
    """Return a function that writes what was tracked."""

    def write() -> None:
        while buffer.queued:
            assert buffer.write_batch(), "the database does not take what was tracked"  # noqa: S101

    return write


@pytest.fixture
def call(client: Client) -> Call:
    """Calls the API: `call("POST", "agents/enroll", token, machine_id="PC-1")`. Raw bytes go as `body=`."""

    def calling(method: str, path: str, token: str | None = None, *, body: Any = None, **fields: Any) -> Any:
        headers = fields.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token}"} | headers
        sent = body if isinstance(body, bytes) else json.dumps(fields if body is None else body).encode()
        options: dict[str, Any] = {} if method == "GET" else {"data": sent, "content_type": "application/json"}
        if method == "GET":
            options["query_params"] = fields
        return client.generic(method, f"/api/v1/{path}", headers=headers, **options)

    return calling


@pytest.fixture
def enroll_token(db: None) -> str:
    return issue_token("enroll", label="installer")[1]


@pytest.fixture
def client_token(db: None) -> str:
    return issue_token("client", label="gui_v6")[1]


@pytest.fixture
def staff_token(db: None) -> str:
    return issue_token("staff", user=User.objects.create_superuser("alice"))[1]


@pytest.fixture
def make_agent(db: None) -> Callable[..., Agent]:
    """An enrolled machine; `seen` is how long ago it was last heard of."""

    def make(machine_id: str = "PC-1", *, seen: timedelta = timedelta(), **fields: Any) -> Agent:
        now = timezone.now()
        return Agent.objects.create(machine_id=machine_id, last_seen_at=now - seen, **{"enrolled_at": now} | fields)

    return make


@pytest.fixture
def silent_node(db: None) -> Callable[..., None]:
    """Another node `12345678` whose last sign of life is some time ago, and this one seen for a minute."""

    def make(silence: timedelta = timedelta(minutes=1), *, seen_for: timedelta = timedelta(minutes=1)) -> None:
        now = timezone.now()
        Heartbeat.objects.create(component="node:12345678", at=now - silence)
        Heartbeat.objects.create(component=node_component(HOST), at=now, where=HOST, unbroken_since=now - seen_for)

    return make


@pytest.fixture
def agent(make_agent: Callable[..., Agent]) -> Agent:
    return make_agent()


@pytest.fixture
def agent_token(agent: Agent) -> str:
    return issue_agent_token(agent)


@pytest.fixture
def start_elsewhere(transactional_db: None) -> Callable[[Callable[[], object]], int]:
    """Return a function that starts work in a forked process, with connections of its own, and returns its id."""

    def start(work: Callable[[], object]) -> int:
        connections.close_all()  # a connection must not be shared with a child
        child = os.fork()
        if child == 0:
            try:
                signal.setitimer(signal.ITIMER_REAL, PATIENCE)
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        return child

    return start


@pytest.fixture
def elsewhere(start_elsewhere: Callable[[Callable[[], object]], int]) -> Callable[[Callable[[], object]], int]:
    """Return a function that does work in a forked process and returns how it ended: 0, or minus a signal."""
    return lambda work: os.waitstatus_to_exitcode(os.waitpid(start_elsewhere(work), 0)[1])
