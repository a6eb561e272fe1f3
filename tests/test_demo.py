"""`make demo`, with real processes."""

import contextlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import Count, Sum
from django.utils import timezone
from vigie_client import make_session, page_count_for

from agents import enrolment
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from demo import beta, past, services, usage
from demo.beta import Beta
from demo.documents import make_broken_documents, make_documents
from demo.fleet import machines, play
from demo.forms import read_form
from demo.services import DYING, FLAPPING, PASTS, SLOW, WITH_BADGE, Services
from monitoring.checks import worker_rounds
from monitoring.models import Incident, Rollup, Target
from monitoring.probe.http import probe_http
from portal.access.tokens.issuing import issue_token
from portal.egress.tls import verifying_context
from portal.notifications import delivery
from portal.notifications.configuration import synchronise_environment_channels
from portal.tests.helpers.database import own_address
from usage import rollups
from usage.models import GuardianReport, Licence, Run, RunRollup
from usage.quotas import quota_statuses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database(
        "the demo has a SQLite file", despite=("transaction=True", "live_server", "threading", "__contains")
    ),
]

ROOT = Path(__file__).parent.parent


def test_demo_does_not_adopt_another_portal(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = os.environ | {"VIGIE_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "demo", "--bind", bind]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Nothing can listen on {bind}: ")
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.django_db(transaction=True)
def test_demo_can_be_repeated_on_its_own_data(live_server, tmp_path):
    fleet, token = machines(live_server.url, tmp_path), issue_token("enroll", label="demo")[1]
    first = list(play(fleet, token))
    assert first[0] == "12 machines enrolled, 0 were already"
    assert "84 runs replayed, none lost" in first[-3]
    assert first[-1].endswith("was refused: agent_already_active")
    assert Run.objects.count() == 12 + 1 + 84
    enrolment.uninstall_machine("PC-LYON-08", "by an operator", None, None)
    again = list(play(fleet, token))
    assert again[0] == "1 machines enrolled, 11 were already"
    assert len(again) == len(first)


def test_demo_documents_match_their_description(tmp_path):
    encrypted, truncated, empty = (page_count_for(path) for path in make_broken_documents(tmp_path))
    assert (encrypted, truncated, empty) == (None, None, 0)
    assert all(page_count_for(path) for path in make_documents(tmp_path, random.Random(1), 5) if path.suffix == ".pdf")


# --- The services ----------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path):
    return Services(tmp_path / "services")


@pytest.fixture
def ask(watched):
    """Return a function that checks a service as the portal does."""
    context = verifying_context(watched.settings({})["SSL_CERT_FILE"])

    def asking(name):
        [fields] = [fields for fields in watched.targets() if fields["name"] == name]
        return probe_http(Target(**fields).spec(), context=context)

    return asking


@pytest.fixture
def enter(watched, monkeypatch, db):
    """Return a function that enters the services in the test's database."""
    monkeypatch.setenv("DATABASE_URL", own_address())
    return lambda: past.write_history(watched.targets(), list(PASTS.values()))


@pytest.fixture
def scripts_run_here(monkeypatch):
    """Run the scripts of the portal in the test's process; `test_history_of_services_is_created_once` starts others."""

    def run(script, data):
        with monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
            patch.setattr(sys, "stdin", io.StringIO(json.dumps(data, default=datetime.isoformat)))
            import_module(f"demo.portal_side.{script}").main()
        return output.getvalue().strip()

    for module in (past, beta):
        monkeypatch.setattr(module, "run_in_portal", run)


def test_services_fail_when_broken_and_recover_when_repaired(watched, ask):
    assert all(ask(name).is_ok for name in PASTS if name != "Customer area")
    watched.kill()
    watched.flap(True)
    watched.slow_down(True)
    assert (ask(DYING).detail, ask(FLAPPING).detail) == ("ECONNREFUSED", "503")
    assert ask(SLOW).latency_ms > watched.targets()[list(PASTS).index(SLOW)]["max_latency_ms"]
    watched.heal()
    assert all(ask(name).is_ok for name in (DYING, FLAPPING, SLOW, WITH_BADGE))


def test_certificates_include_an_expired_one_and_one_that_expires_soon(watched, ask):
    assert (ask("Customer area").error_kind, ask("Customer area").detail) == ("tls", "certificate has expired")
    left = ask("Shop").certificate_until - timezone.now()
    assert 8 <= left.days < Target(name="Shop").tls_expiry_days


def test_watched_demo_breaks_and_repairs_services(watched):
    rng, seen = random.Random(1), set()
    for _ in range(30):
        watched.live(rng)
        seen.add((watched.is_dead, watched.sites[FLAPPING].status, watched.sites[SLOW].seconds))
    assert seen == {(False, 200, 0.1), (True, 200, 0.1), (False, 503, 0.1), (False, 200, 0.9)}


def test_services_reuse_their_ports_unless_taken(watched, tmp_path):
    before = {name: site.url for name, site in watched.sites.items()}
    taken = Services(tmp_path / "services").sites
    assert not set(before.values()) & {site.url for site in taken.values()}
    for site in taken.values():
        site.die()
    again = Services(tmp_path / "services").sites
    assert {name: site.url for name, site in again.items()} == {name: site.url for name, site in taken.items()}


def test_service_stays_down_while_its_port_is_taken(watched, ask):
    watched.kill()
    with socket.create_server(("127.0.0.1", watched.sites[DYING].server_port)):
        watched.heal()
        assert watched.is_dead
    watched.heal()
    assert ask(DYING).is_ok


def test_demo_sends_nothing_to_a_configured_bot(watched):
    assert watched.settings({})["TELEGRAM_API_BASE"].startswith("http://127.0.0.1:")
    given = {"TELEGRAM_BOT_TOKEN_FILE": "token", "CONNECTIVITY_PROBES": ""}
    assert set(watched.settings(given)) == {"SSL_CERT_FILE"}


def test_demo_trusts_the_certificates_of_the_system(watched, tmp_path):
    (tmp_path / "own.pem").write_text("another authority")
    path = Path(watched.settings({"SSL_CERT_FILE": str(tmp_path / "own.pem")})["SSL_CERT_FILE"])
    assert path.read_text().endswith("-----END CERTIFICATE-----\n\nanother authority")


@pytest.mark.django_db(transaction=True)
def test_history_of_services_is_created_once(watched, enter):
    first = enter()
    assert first.endswith(".svg")
    figures = {
        period: Rollup.objects.filter(period=period, target__name=DYING).aggregate(Sum("checks"), Sum("failures"))
        for period in ("hour", "day")
    }
    assert figures["hour"] == figures["day"] == {"checks__sum": 42 * 24 * 360, "failures__sum": 6 * (190 + 47)}
    found = list(Incident.objects.order_by("pk"))
    assert len(found) == sum(len(past.outages) for past in PASTS.values())
    assert found == sorted(found, key=lambda incident: incident.opened_at)
    assert all(incident.duration == incident.resolved_at - incident.opened_at for incident in found)
    assert all(incident.timeline.last().kind == "resolved" for incident in found)
    rollups = Rollup.objects.count()
    for rollup in Rollup.objects.all():
        assert sum(rollup.histogram.values()) == rollup.checks - rollup.failures
    watched.kill()
    watched.revive()
    Target.objects.update(url="http://127.0.0.1:1/", interval=77)
    assert enter() == first
    assert (Rollup.objects.count(), Incident.objects.count()) == (rollups, len(found))
    assert set(Target.objects.values_list("url", "interval")) == {(site.url, 77) for site in watched.sites.values()}


@pytest.mark.django_db(transaction=True)
def test_incident_opens_is_acknowledged_and_closes(watched, live_server, monkeypatch, settings):
    """Run the workers in the test, and check every second."""
    monkeypatch.setenv("DATABASE_URL", own_address())
    monkeypatch.setitem(services.USUAL, "interval", 1)
    monkeypatch.setattr("demo.past.DAYS", 1)
    settings.CONNECTIVITY_PROBES = []
    for name, value in watched.telegram.settings.items():
        setattr(settings, name, value)
    synchronise_environment_channels()
    operator = User.objects.create_superuser("operator", password="secret")
    is_over = threading.Event()

    def work():
        while not is_over.is_set():
            worker_rounds.run_round(length=0.5)
            delivery.deliver("telegram")
        connections.close_all()

    workers = threading.Thread(target=work)
    workers.start()
    try:
        api = make_session(issue_token("staff", user=operator)[1])
        lines = list(services.play(live_server.url, watched, api, "secret"))
    finally:
        is_over.set()
        workers.join(timeout=60)
    assert lines[3] == f"{DYING} responds again: its incident is resolved"
    incident = Incident.objects.filter(target__name=DYING).latest("pk")
    kinds = [event.kind for event in incident.timeline.all() if event.kind != "changed"]
    assert kinds == ["opened", "acknowledged", "assigned", "noted", "resolved"]
    assert incident.acknowledged_by == "operator"
    about = [line for line in lines if f" {DYING} is down" in line or f" {DYING} recovered" in line]
    assert [line.split()[1] for line in about] == ["🔴", "✅"]


def test_changed_password_does_not_stop_the_demo(live_server, db):
    line = services.acknowledge_incident(live_server.url, "wrong", {"id": 1, "opened_at": "2026-03-10T12:00:00Z"})
    assert line.endswith("so it was not acknowledged")


# --- What customers use ----------------------------------------------------------------------------------------------


@pytest.fixture
def play_customers(live_server, settings, tmp_path):
    """Return a function that simulates the customers and returns its lines. The guardian's mail goes into a file."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.GUARDIAN_RECIPIENTS = ["guardian@example.org"]
    synchronise_environment_channels()
    settings.REPORTS_ROOT, settings.EMAIL_FILE_PATH = tmp_path, str(usage.mail_folder(tmp_path))
    usage.settings(tmp_path, {})
    operator = User.objects.create_superuser("operator", password="secret")
    api, application = make_session(issue_token("staff", user=operator)[1]), issue_token("client", label="demo")[1]
    people = usage.workplaces(live_server.url, application, tmp_path / "activity")
    return lambda: list(usage.play(live_server.url, tmp_path, people, api, "secret"))


@pytest.fixture
def guardian_is_sent(monkeypatch):
    """Deliver the guardian's mail when it is waited for, since no worker runs in a test."""

    def look(found):
        delivery.deliver("guardian")
        return found()

    monkeypatch.setattr(usage, "wait", look)


@pytest.mark.django_db(transaction=True)
def test_guardian_mails_about_customers_near_and_over_quota(play_customers, guardian_is_sent, tmp_path):
    lines = play_customers()
    assert lines[0] == f"5 customers have 60 days of history: {Run.objects.count()} runs"
    assert lines[2] == "5 people worked; all activity was delivered"
    rollups.rebuild(None, None, lambda hour, count: None)
    found = {licence.customer: licence for licence in Licence.objects.all()}
    standing = quota_statuses(list(found.values()), timezone.now())
    percent = {customer: standing[licence.ref].percent for customer, licence in found.items()}
    assert 80 <= percent["Exemple SARL"] < 100 < percent["SIRPACAM"]
    assert percent["Imprimerie Laurent"] is None
    assert RunRollup.objects.filter(license_ref="LIC-2043").exists()
    assert not Licence.objects.filter(ref="LIC-2043").exists()
    report = GuardianReport.objects.get().data
    minutes = {person["email"]: person["total_time_minutes"] for person in report["users"]}
    assert minutes.pop("operator") == 0
    assert len(minutes) == len(usage.PEOPLE)
    assert min(minutes.values()) >= 15
    assert report["total_errors"] > 0
    (mail,) = usage.mail_folder(tmp_path).iterdir()
    assert lines[-1].endswith(f"its mail is {mail}")
    assert "alice.martin@example.org" in mail.read_text()
    runs, said = Run.objects.count(), play_customers()
    assert len(said) == len(lines) - 2
    assert Run.objects.count() == runs


def test_mails_go_to_files_without_a_mail_server(tmp_path):
    assert usage.settings(tmp_path, {})["EMAIL_URL"] == f"filemail:///{tmp_path}/mails"
    assert usage.settings(tmp_path, {"EMAIL_URL_FILE": "secret"}) == {}


# --- What participants say -------------------------------------------------------------------------------------------


@pytest.fixture
def play_participants(live_server, tmp_path, enter, scripts_run_here, monkeypatch):
    """Return a programme, and a function that simulates its participants with two enrolled machines."""
    monkeypatch.setattr("demo.past.DAYS", 22)
    enter()
    operator = User.objects.create_superuser("operator", password="secret")
    api, application = (
        make_session(issue_token("staff", user=operator)[1]),
        make_session(issue_token("client", label="demo")[1]),
    )
    fleet = machines(live_server.url, tmp_path / "machines")[:2]
    for machine in fleet:
        machine.ensure_enrolled(issue_token("enroll", label="demo")[1])
    programme = Beta(live_server.url, tmp_path)
    with api, application:
        yield programme, lambda: list(beta.play(programme, fleet, application, api, "secret"))


@pytest.mark.django_db(transaction=True)
def test_three_weeks_of_beta_are_created_once(play_participants, tmp_path, monkeypatch):
    programme, played = play_participants
    lines = played()
    assert lines[0] == "12 participants of spring-beta sent feedback 27 times in 21 days, in 3 languages"
    assert lines[1] == "feedback that was sent twice was stored once: yes"
    assert lines[3] == "a program sent 2 pieces of feedback by the client package"
    assert lines[4].endswith("and was thanked")
    assert lines[5] == "the report says NO-GO for critical_bugs"
    assert lines[6].endswith("the report now says GO")
    assert programme.verdict == "GO"
    told = list(BetaSnapshot.objects.filter(reason="verdict").order_by("id").values_list("verdict", flat=True))
    assert told == ["INSUFFICIENT DATA", "NO-GO"]
    assert [len(snapshot.data["performance"]["days"]) for snapshot in BetaSnapshot.objects.order_by("id")[:2]] == [
        5,
        12,
    ]
    counted = BetaFeedback.objects.values_list("source").annotate(Count("pk")).order_by()
    assert {source.partition(":")[0]: count for source, count in counted}.keys() == {"client", "agent", "public"}
    assert set(BetaFeedback.objects.values_list("status", flat=True)) == set(BetaFeedback.Status)
    assert not BetaFeedback.objects.filter(comment__contains="pills").exists()
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} == {".json", ".txt", ".csv", ".xlsx", ".pdf"}
    monkeypatch.setattr(beta, "FORMATS", ())
    known, said = BetaFeedback.objects.count(), played()
    assert len(said) == 1
    assert (BetaFeedback.objects.count(), BetaProgramme.objects.count()) == (known, 1)
    assert len(list(programme.where_to_look())) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scene", ["add_targets", "backdate"])
def test_interrupted_beta_is_completed(play_participants, monkeypatch, scene):
    programme, played = play_participants
    monkeypatch.setattr(beta, "FORMATS", ())
    with monkeypatch.context() as broken:
        original, calls = getattr(beta, scene), iter(range(9))
        survived = 1 if scene == "backdate" else 0
        broken.setattr(beta, scene, lambda *given: original(*given) if next(calls) < survived else sys.exit())
        with pytest.raises(SystemExit):
            played()
    played()
    assert programme.verdict == "GO"
    told = list(BetaSnapshot.objects.filter(reason="verdict").order_by("id").values_list("verdict", flat=True))
    assert told == ["INSUFFICIENT DATA", "NO-GO"]
    assert Target.objects.filter(beta_programme__name=beta.NAME).count() == len(beta.TESTED)
    public = BetaFeedback.objects.filter(source="public").order_by("given_at").first()
    assert timezone.now() - public.given_at > timedelta(days=5)
    assert len(played()) == 1


def test_form_is_sent_as_a_browser_would():
    page = """<form><input name="other"></form><form><input type="hidden" name="id" value="7"><input name="name">
    <textarea name="text">\nHi &amp; bye\n</textarea><select name="kind"><option value="">-<option value="2" selected>x
    </select><select name="first"><option value="1">a<option value="2">b</select><input type="checkbox" name="yes" checked>
    <input type="checkbox" name="no"><input type="radio" name="one" value="a"><input type="radio" name="one" value="b"
    checked><input type="submit" name="_save" value="Save"></form>"""
    assert read_form(page, "text") == {
        "id": "7", "name": "", "text": "Hi & bye\n", "kind": "2", "first": "1", "yes": "on", "one": "b",
    }  # fmt: skip
    with pytest.raises(LookupError):
        read_form(page, "nothing")
