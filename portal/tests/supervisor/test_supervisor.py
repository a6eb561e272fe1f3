"""The supervisor, with small programs instead of the portal's."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.core.management.base import CommandError

from portal.management.commands.up import listen_or_refuse
from portal.supervisor import children, components, lifeline
from portal.supervisor.children import ENDING, Child, Component, restart_pause
from portal.supervisor.components import open_listener
from portal.supervisor.supervisor import Supervisor
from portal.tests.helpers.waiting import wait_for

pytestmark = pytest.mark.slow

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({file!r}, "w")
time.sleep(600)
"""


def program(code):
    return Component("program", lambda: os.execv(sys.executable, [sys.executable, "-c", code]))


@pytest.fixture
def supervise(monkeypatch):
    """Return a function that supervises one program with short pauses; its processes are killed at the end."""
    monkeypatch.setattr(children, "LONGEST_PAUSE", 0.05)
    handlers = {number: signal.getsignal(number) for number in ENDING}
    made = []

    def supervising(code, grace=30.0):
        made.append(Supervisor([program(code)], grace))
        return made[-1]

    yield supervising
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for supervisor in made:
        for child in supervisor.children:
            child.signal_group(signal.SIGKILL)


@pytest.fixture
def end_when(supervise):
    """Return a function that sends this process the end signal once the condition holds."""
    threads = []

    def ending(condition, times):
        wait_for("it is time to end", condition)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)  # two signals at once would be merged into one

    def ending_when(condition, times=1):
        threads.append(threading.Thread(target=ending, args=(condition, times)))
        threads[-1].start()

    yield ending_when
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1), (5, 8), (9, 30)])
def test_restart_backoff_doubles_up_to_a_maximum(failures, seconds):
    assert restart_pause(failures) == seconds


def test_program_that_keeps_dying_ends_the_supervisor_with_a_failure(supervise, tmp_path):
    starts = tmp_path / "starts"
    supervisor = supervise(f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)")
    assert supervisor.run() == 1
    assert starts.read_text() == "x" * children.MOST_FAILURES


def test_backoff_is_reset_after_a_stable_run():
    child = Child(program(""), failures=4)
    child.start(100.0, prepare=lambda: None)
    child.ended(100.0 + children.SETTLED_AFTER)
    assert (child.failures, child.due) == (1, 100.0 + children.SETTLED_AFTER + 0.5)


def raise_error():
    raise RuntimeError


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (lambda: None, 0),
        (sys.exit, 0),
        (lambda: sys.exit(3), 3),
        (lambda: sys.exit("a sentence"), 1),
        (raise_error, 1),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -signal.SIGTERM),
    ],
)
def test_process_ends_with_the_status_of_what_it_runs(run, code):
    child = Child(Component("program", run))
    child.start(0.0, prepare=atexit._clear)  # those of the test run are not its own
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.ended(0.0) == code


def test_process_runs_exit_functions(tmp_path):
    child = Child(Component("program", lambda: atexit.register((tmp_path / "ended").touch)))
    child.start(0.0, prepare=atexit._clear)  # those of the test run are not its own
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.ended(0.0)
    assert (tmp_path / "ended").exists()


def test_process_with_a_failing_exit_function_ends_all_the_same(monkeypatch):
    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr(threading, "_shutdown", fail)
    supervisor = os.getpid()
    child = Child(Component("program", lambda: None))
    try:
        child.start(0.0, prepare=atexit._clear)
    finally:
        if os.getpid() != supervisor:  # it came back
            os._exit(99)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.ended(0.0) == 0


def test_signal_right_after_the_fork_is_not_lost(monkeypatch):
    """The child must not note it with the supervisor's handler, which nobody would look at."""
    real = os.fork

    def fork_with_signal():
        pid = real()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(os, "fork", fork_with_signal)
    handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
    child = Child(Component("program", lambda: None))
    child.start(0.0, prepare=atexit._clear)  # those of the test run are not its own
    signal.signal(signal.SIGTERM, handler)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.ended(0.0) == -signal.SIGTERM


def test_requested_end_is_a_success(supervise, end_when):
    supervisor = supervise("import time; time.sleep(600)")
    end_when(supervisor.running)
    assert supervisor.run() == 0
    assert not supervisor.running()


def test_program_that_outlives_the_grace_period_is_killed(supervise, end_when, tmp_path):
    supervisor = supervise(STUBBORN.format(file=str(tmp_path / "up")), grace=0.5)
    end_when((tmp_path / "up").exists)
    assert supervisor.run() == 0


def test_second_signal_kills_everything_at_once(supervise, end_when, tmp_path):
    supervisor = supervise(STUBBORN.format(file=str(tmp_path / "up")), grace=3600)
    end_when((tmp_path / "up").exists, times=2)
    assert supervisor.run() == 0


def test_children_of_a_dead_main_process_are_killed(supervise, tmp_path):
    file = tmp_path / "pid"
    code = f"import os, time; pid = os.fork(); pid and open({str(file)!r}, 'w').write(str(pid)); time.sleep(0 if pid else 600)"
    supervisor = supervise(code)
    supervisor.look(time.monotonic())
    orphan = int(wait_for("the child is there", lambda: file.exists() and file.read_text()))
    wait_for("the end is noted", lambda: supervisor.reap(time.monotonic()) or not supervisor.running())
    wait_for("the orphan is gone", lambda: is_gone(orphan))


def is_gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_broken_lifeline_ends_its_process():
    code = "from portal.supervisor import lifeline; import time; lifeline.watch_lifeline(); print(flush=True); time.sleep(600)"
    reading, writing = os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=[reading], env=os.environ | {lifeline.VARIABLE: str(reading)},
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with program:
        program.stdout.readline()
        os.close(reading)
        os.close(writing)
        try:
            assert program.wait(10) == -signal.SIGTERM
        finally:
            program.kill()


@pytest.mark.parametrize("bind", ["8000", ":8000", "localhost:http", "localhost:70000", "localhost:-1"])
def test_invalid_listen_address_is_refused(bind):
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        open_listener(bind)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_supervisor_listens_on_the_given_address(host, monkeypatch):
    monkeypatch.setattr(components, "PORT_WAIT_SECONDS", 0)
    with (
        open_listener(f"{host}:0") as listening,
        pytest.raises(CommandError, match=r"Nothing can listen on .* in use\.$"),
    ):
        listen_or_refuse(f"{host}:{listening.getsockname()[1]}")


def test_supervisor_waits_for_an_address_in_use():
    with open_listener("127.0.0.1:0") as held:
        port = held.getsockname()[1]
        threading.Timer(0.5, held.close).start()
        with open_listener(f"127.0.0.1:{port}") as listening:
            assert listening.getsockname()[1] == port
