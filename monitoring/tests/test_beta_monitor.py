"""`manage.py beta_monitor`: its modes, its exit status, and how it ends."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings as portal_settings
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import OperationalError, connection
from django.utils import timezone

from monitoring.checks import follow, pacing, sweeps, worker_rounds
from monitoring.management.commands.beta_monitor import SignalWatcher
from monitoring.models import CheckResult, MaintenanceWindow, Round, Target
from monitoring.terminal.screen import Screen, list_names
from monitoring.tests.helpers.http_service import HttpService
from portal.models import JobRun
from portal.tests.helpers.database import own_address
from portal.tests.helpers.receiver import BotApi, reset
from portal.tests.helpers.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
COMMAND = [sys.executable, str(portal_settings.BASE_DIR / "manage.py"), "beta_monitor"]
TOKEN, CHAT = "123456789:AAF0r-the_tests_of_the_portal_only_0000", "-100123"
LINE = re.compile(r"#\d+  \d\d:\d\d:\d\d  (\d+) checks?  p95 (\d+ ms|–)(, slow|, too slow)?  (.*)")


@pytest.fixture(autouse=True)
def nobody_else(settings, monkeypatch):
    """The outside world is not asked, and nothing is spread over a second."""
    settings.CONNECTIVITY_PROBES = []
    settings.MONITORED_BASE = ""
    monkeypatch.setattr(pacing, "SPREAD_OF_ONE", 0.0)


@pytest.fixture
def service():
    with HttpService() as service:
        yield service


@pytest.fixture
def targets(make_target, service):
    return [make_target(name, url=f"{service.url}/{name}", interval=86_400) for name in ("API", "Shop")]


def run(*arguments):
    """The command in this process; its exit status."""
    try:
        call_command("beta_monitor", *arguments)
    except SystemExit as left:
        return left.code
    return 0


def refused(*arguments):
    with pytest.raises(CommandError) as found:
        call_command("beta_monitor", *arguments)
    return str(found.value), found.value.returncode


def process(*arguments, **options):
    own = {"DATABASE_URL": own_address(), "CONNECTIVITY_PROBES": "", "FLEET_LATENCY_ALERT_MS": "60000", "TERM": "xterm"}
    environment = {name: value for name, value in (os.environ | own).items() if name != "COLUMNS"}
    return subprocess.Popen([*COMMAND, *arguments], env=environment, **options)


# --- One sweep -------------------------------------------------------------------------------------------------------


def test_command_without_options_checks_all_targets_once(targets, capsys):
    assert run() == 0
    first, _empty, heading, *rest = capsys.readouterr().out.splitlines()
    assert LINE.fullmatch(first).groups()[2:] == (None, "0 % errors")
    assert heading.startswith("1 round, from ")
    assert [line.split()[:3] for line in rest[3:5]] == [["API", "up", "1"], ["Shop", "up", "1"]]
    assert CheckResult.objects.count() == 2


def test_failing_target_is_named_with_status_1(targets, service, capsys):
    service.statuses["/Shop"] = 503
    assert run() == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert LINE.fullmatch(first)[4] == "50.00 % errors  (Shop)"


def test_slow_round_above_the_alert_limit_has_status_1(targets, settings, capsys):
    settings.FLEET_LATENCY_SHOWN_MS, settings.FLEET_LATENCY_ALERT_MS = 0.001, 60_000
    assert run() == 0
    assert LINE.fullmatch(capsys.readouterr().out.splitlines()[0])[3] == ", slow"
    settings.FLEET_LATENCY_ALERT_MS = 0.002
    assert run() == 1
    assert LINE.fullmatch(capsys.readouterr().out.splitlines()[0])[3] == ", too slow"


def test_failures_under_maintenance_have_status_0(targets, service, capsys):
    now = timezone.now()
    MaintenanceWindow.objects.create(starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1))
    service.statuses |= {"/API": 500, "/Shop": 500}
    assert run() == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("0 checks  p95 –  – errors  2 excluded")


def test_output_is_in_the_portals_language(targets, service, settings, capsys):
    settings.LANGUAGE_CODE = "fr"
    service.statuses["/API"] = 500
    run()
    assert "  en échec  " in capsys.readouterr().out


def test_url_option_checks_paths_without_targets(service, capsys):
    assert run("--url", service.url) == 0
    assert sorted(service.asked) == ["/", "/admin/", "/api", "/api/v1/", "/healthz"]
    service.asked.clear()
    service.statuses["/b"] = 500
    assert run("--url", service.url, "--path", "/a", "--path", "b") == 1
    assert sorted(service.asked) == ["/a", "/b"]
    assert not any(model.objects.exists() for model in (Target, Round, CheckResult))


def test_app_url_is_checked_without_targets(service, settings):
    settings.MONITORED_BASE = f"{service.url}/app"
    run()
    assert sorted(service.asked) == ["/app/", "/app/admin/", "/app/api", "/app/api/v1/", "/app/healthz"]


def test_targets_take_precedence_over_app_url(targets, service, settings):
    settings.MONITORED_BASE = "http://127.0.0.1:1"
    assert run() == 0
    assert sorted(service.asked) == ["/API", "/Shop"]


# --- Wrong use -------------------------------------------------------------------------------------------------------


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There are no targets: add one in the admin, or use --url."),
        (["--url", "shop"], "--url must be an address such as https://shop.example.org."),
        (["--url", "http://a.org", "--path", "/a b"], "--path must be the path of an address, such as /api."),
        (["--watch", "--interval", "4"], "--interval must be a whole number from 5 to 3600."),
        (["--watch", "--interval", "3601"], "--interval must be a whole number from 5 to 3600."),
        (["--watch", "--interval", "1e2"], "--interval must be a whole number from 5 to 3600."),
        (["--report", "--hours", "0"], "--hours must be a whole number from 1 to 2160."),
        (["--report", "--hours", "٣"], "--hours must be a whole number from 1 to 2160."),
        (["--watch", "--interval", "00000006099999"], "--interval must be a whole number from 5 to 3600."),
        (["--interval", "30"], "--interval needs --watch."),
        (["--watch", "--hours", "1"], "--hours needs --report."),
        (["--watch", "--path", "/a"], "--path needs --url."),
        (["--report", "--url", "http://a.org"], "--url can’t be used with --report."),
        (["--test-telegram", "--url", "http://a.org"], "--url can’t be used with --test-telegram."),
    ],
)
def test_wrong_options_are_refused_with_status_2(db, arguments, said):
    assert refused(*arguments) == (said, 2)


def test_invalid_app_url_is_named(db, settings):
    settings.MONITORED_BASE = "shop"
    assert refused() == ("APP_URL must be an address such as https://shop.example.org.", 2)


def test_only_paused_targets_are_refused_with_status_2(targets):
    Target.objects.update(is_active=False)
    assert refused()[1] == 2


def test_workers_that_keep_the_lease_are_named_with_status_1(targets, monkeypatch):
    monkeypatch.setattr(sweeps, "PATIENCE_SECONDS", 0.05)
    worker_rounds.take_lease(0)
    assert refused() == ("Another process is checking the targets.", 1)


def test_watch_without_workers_says_how_to_start_them_with_status_2(targets, service, monkeypatch):
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.05)
    text = "No worker checks the targets. Start the workers (manage.py up), or check once without --watch."
    assert refused("--watch", "--interval", "60") == (text, 2)
    assert service.asked == []


# --- Without a database, or anybody who reads ------------------------------------------------------------------------


def gone(*arguments):
    raise OperationalError("gone")


@pytest.mark.parametrize("arguments", [[], ["--watch"], ["--report"]])
@pytest.mark.django_db(transaction=True)
def test_missing_database_has_status_2(targets, arguments):
    with connection.execute_wrapper(gone):
        assert refused(*arguments) == ("The database does not answer: OperationalError: gone", 2)


@pytest.mark.django_db(transaction=True)
def test_url_is_checked_without_a_database(service):
    with connection.execute_wrapper(gone):
        assert run("--url", service.url) == 0


def test_interrupted_sweep_ends_with_status_1_although_nothing_failed(targets, service, monkeypatch, capsys):
    service.gate.clear()
    is_first_look = iter([True])

    def interrupted(self):
        """Before the first step nothing has begun; after it, checks are under way and have no answer yet."""
        if next(is_first_look, False):
            return False
        service.arrivals.acquire(timeout=PATIENCE)
        service.gate.set()
        return True

    monkeypatch.setattr(SignalWatcher, "__call__", interrupted)
    assert run() == 1
    assert "0 % errors" in capsys.readouterr().out


@pytest.mark.one_database("signals and pipes")
@pytest.mark.django_db(transaction=True)
def test_closed_pipe_ends_the_watch_quietly(service):
    with process(
        "--watch", "--interval", "5", "--url", service.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watch:
        watch.stdout.close()
        errors = watch.stderr.read()
    assert (watch.returncode, errors) == (1, "")


def test_progress_line_is_cleared_before_a_log_record():
    screen = Screen(OutputWrapper(Terminal()))
    screen.is_live = True
    screen.show(9.0)
    assert screen.make_room(None)
    assert screen.stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("count", "end"), [(7, "and 1 more"), (99, "and 93 more"), (100, "and more")])
def test_names_not_stored_in_a_round_are_not_counted(count, end):
    assert list_names([f"T{number}" for number in range(count)]).endswith(f"T5 {end}")


# --- Watching, in a real process -------------------------------------------------------------------------------------


def lines_until(stream, what):
    found = []
    for line in stream:
        found.append(line)
        if what in line:
            return found
    raise AssertionError(f"not said: {what}; but {found}")


@pytest.mark.django_db(transaction=True)
def test_watch_of_targets_prints_the_workers_rounds_and_a_report_at_ctrl_c(targets, service):
    service.statuses["/Shop"] = 503
    worker_rounds.run_round(length=0.1)
    lease = worker_rounds.take_lease(0)
    with process("--watch", "--interval", "5", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        [line] = lines_until(watch.stdout, "#1")
        assert LINE.fullmatch(line.rstrip("\n"))[4] == "50.00 % errors  (Shop)"
        lease.release()
        Target.objects.update(next_check_at=timezone.now())
        service.statuses.clear()
        worker_rounds.run_round(length=0.1)
        worker_rounds.take_lease(0)
        lines_until(watch.stdout, "#3")
        watch.send_signal(signal.SIGINT)
        out, errors = watch.communicate(timeout=PATIENCE)
    assert (watch.returncode, errors) == (1, "")
    heading, _empty, _header, _rule, api, shop, *_rest = out.splitlines()[1:]
    assert heading.startswith("2 rounds, from ")
    assert (api.split()[2], shop.split()[2:5]) == ("2", ["2", "50.00", "%"])
    assert len(service.asked) == 4, "the watch checked by itself"


def test_sweep_interrupted_in_the_middle_stores_what_it_has_begun(targets, service, capsys):
    service.gate.clear()
    with while_it_runs(lambda: interrupt_during_checks(service)):
        assert run() == 1
    assert LINE.match(capsys.readouterr().out)[4] == "100 % errors  (API, Shop)"
    assert CheckResult.objects.count() == Round.objects.get().checks == 2
    assert not Target.objects.exclude(claim="").exists()
    assert JobRun.objects.get().status == "waiting"


def interrupt_during_checks(service):
    """Send SIGTERM while two checks wait for an answer, and let them fail once it was noted."""
    for _ in range(2):
        assert service.arrivals.acquire(timeout=PATIENCE)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for("the signal is noted", lambda: signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    service.statuses |= {"/API": 500, "/Shop": 500}
    service.gate.set()


@contextmanager
def while_it_runs(act):
    """Act in a thread beside the command, which needs the main thread for its signals."""
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        yield
        acting.result(timeout=PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_the_second_ends_the_process(number):
    former = signal.getsignal(number)
    watcher = SignalWatcher()
    assert not watcher()
    signal.raise_signal(number)
    assert watcher()
    assert {signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_DFL}
    watcher.restore()
    assert signal.getsignal(number) == former


# --- On a terminal ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def rows(self):
        return rows_of(self.getvalue())


def rows_of(text):
    """Return what each line looked like when it was left, without what was written over."""
    return [line.split("\x1b[K")[-1].split("\r")[-1] for line in text.replace("\r\n", "\n").split("\n")]


def progress_of(text):
    return re.findall(r"\r([^\r\n]+?)\x1b\[K", text)


def test_terminal_shows_a_progress_line_and_the_report_at_ctrl_c(service, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "26")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    service.gate.clear()

    def watch_the_terminal():
        wait_for("the progress line", lambda: "0 of 2 checked" in terminal.getvalue())
        service.statuses["/Shop"] = 500
        service.gate.set()
        wait_for("the countdown", lambda: "next round in" in terminal.getvalue())
        os.kill(os.getpid(), signal.SIGINT)

    with while_it_runs(watch_the_terminal):
        assert run("--watch", "--interval", "3600", "--url", service.url, "--path", "API", "--path", "Shop") == 1
    shown = progress_of(terminal.getvalue())
    assert shown[0] == "0 of 2 checked"
    assert any(text.startswith("next round in 3") for text in shown)
    assert max(map(len, shown)) <= 25
    assert LINE.fullmatch(terminal.rows()[0])
    assert any(row.startswith("1 round, from ") for row in terminal.rows())
    assert not any("checked" in row or "next round" in row for row in terminal.rows())


class TerminalProcess:
    """The command as a process on a pseudo-terminal of so many columns."""

    def __init__(self, *arguments, columns):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = process(*arguments, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs)
        os.close(theirs)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def read_until(self, text):
        while text not in self.text:
            self.text += os.read(self.ours, 65_536).decode()

    def read_to_the_end(self):
        try:
            while more := os.read(self.ours, 65_536):
                self.text += more.decode()
        except OSError:  # Linux says so that nobody is left on the other end
            pass

    def has_noted(self, number):
        """Return whether the process has given the signal back to the system, which ends it at the next one."""
        with open(f"/proc/{self.process.pid}/status") as status:
            [caught] = [int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")]
        return not caught >> (number - 1) & 1


@pytest.mark.one_database("signals and pipes", despite=("threading",))
@pytest.mark.django_db(transaction=True)
def test_process_on_a_narrow_terminal_keeps_to_its_width_and_ends_at_the_second_ctrl_c(service):
    answers = threading.Semaphore(0)
    service.gate = SimpleNamespace(wait=answers.acquire, set=lambda: answers.release(2))
    service.statuses["/Shop"] = 500
    url = ("--url", service.url, "--path", "API", "--path", "Shop")
    with TerminalProcess("--watch", "--interval", "5", *url, columns=26) as terminal:
        terminal.read_until("0 of 2 checked")
        service.gate.set()
        terminal.read_until("next round in")
        for _ in range(4):  # two checks of each round
            assert service.arrivals.acquire(timeout=PATIENCE)
        terminal.process.send_signal(signal.SIGINT)
        wait_for("the signal is noted", lambda: terminal.has_noted(signal.SIGINT))
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_to_the_end()
        assert terminal.process.wait(PATIENCE) == -signal.SIGINT
    shown = progress_of(terminal.text)
    assert shown[0] == "0 of 2 checked"
    assert max(map(len, shown)) <= 25
    first, *others = rows_of(terminal.text)
    assert LINE.fullmatch(first)[4] == "50.00 % errors  (/Shop)"
    assert not any(row.startswith("1 round, from ") for row in others)


def test_pipe_gets_no_progress_line(targets, capsys):
    run()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out


# --- The report ------------------------------------------------------------------------------------------------------


def test_report_is_printed_and_saved(targets, settings, tmp_path, capsys):
    settings.REPORTS_ROOT = tmp_path
    run()
    capsys.readouterr()
    assert run("--report") == 0
    out, errors = capsys.readouterr()
    [path] = tmp_path.iterdir()
    assert re.fullmatch(r"beta_report_\d{8}_\d{6}\.txt", path.name)
    assert errors == f"Saved as {path}\n"
    assert path.read_text(encoding="utf-8") == out
    assert re.search(r"^API +up +1 +100 %", out, re.MULTILINE)
    assert out.endswith("No incidents.\n")


def test_report_without_programmes_is_the_table_alone(db, settings, tmp_path, capsys):
    settings.REPORTS_ROOT = tmp_path
    assert run("--report") == 0
    assert capsys.readouterr().out.startswith("Monitoring, from ")


@pytest.mark.django_db(transaction=True)
def test_report_that_cannot_be_saved_is_printed(db, settings, tmp_path, capsys):
    settings.REPORTS_ROOT = tmp_path / "mounted"
    said, status = refused("--report", "--hours", "1")
    assert said == f"The report was not saved in {tmp_path}/mounted: No such file or directory."
    assert status == 1
    assert "No targets." in capsys.readouterr().out


@pytest.fixture
def tokyo(db, settings, tmp_path):
    """A target whose name no console of western Europe can show."""
    settings.REPORTS_ROOT = tmp_path
    return Target.objects.create(name="東京", url="https://tokyo.example.org/")


def test_report_is_printed_in_utf8_whatever_the_encoding(tokyo, tmp_path, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="latin-1"))
    assert run("--report") == 0
    [path] = tmp_path.iterdir()
    assert printed.getvalue() == path.read_bytes()
    assert tokyo.name in printed.getvalue().decode()


def test_report_is_saved_if_the_pipe_is_closed(tokyo, tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run("--report") == 1
    [path] = tmp_path.iterdir()
    assert tokyo.name in path.read_text(encoding="utf-8")


# --- Telegram --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bot(settings):
    with BotApi(TOKEN) as bot:
        settings.TELEGRAM_API_BASE = bot.url
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = TOKEN, CHAT
        yield bot


def test_telegram_test_is_sent_to_the_chat(bot, capsys):
    assert run("--test-telegram") == 0
    assert bot.accepted[0]["chat_id"] == CHAT
    assert capsys.readouterr().out == f"sent to {CHAT}\n"


@pytest.mark.parametrize("step", [(401, {"ok": False, "description": f"no bot {TOKEN}"}), reset, (500, TOKEN)])
def test_failed_telegram_test_says_why_without_the_token(bot, capsys, step):
    bot.script = [step]
    assert run("--test-telegram") == 1
    out, errors = capsys.readouterr()
    assert out.startswith(f"not sent to {CHAT}: ")
    assert TOKEN.partition(":")[2] not in out + errors


@pytest.mark.parametrize("name", ["TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID"])
def test_telegram_test_without_settings_names_them(bot, settings, name):
    setattr(settings, name, "")
    assert refused("--test-telegram") == ("Set TELEGRAM_BOT_TOKEN, TELEGRAM_CHAT_ID first.", 1)
    assert bot.requests == []
