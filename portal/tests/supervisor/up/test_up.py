"""The supervised portal under real signals. All tests share one portal, restarted after tests that end it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.tests.helpers.portal_process import Portal, database
from portal.tests.helpers.waiting import PATIENCE, wait_for

# The test's database is there to be copied.
pytestmark = [pytest.mark.slow, pytest.mark.each_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    directory = tmp_path_factory.mktemp("portal")
    with database(directory) as url:
        portal = Portal(directory, url)
        try:
            yield portal
        finally:
            portal.clean_up()


@pytest.fixture
def portal(prepared: Portal, transactional_db: None) -> Portal:
    """Return a running portal."""
    if prepared.up is None:
        prepared.copy_tables()
    if prepared.up is None or prepared.up.poll() is not None:
        prepared.start()
    return prepared


def test_up_refuses_to_start_before_the_migrations(prepared: Portal) -> None:
    refused = prepared.manage("up")
    assert refused.returncode == 1
    assert "run `manage.py prepare` first" in refused.stderr


@pytest.mark.one_database("umask")
def test_files_of_every_process_are_private_to_their_owner(portal: Portal) -> None:
    masks = {
        process.pid: next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1]
        for process in portal.processes()
        if (status := Path(f"/proc/{process.pid}/status").read_text())
    }
    assert len(masks) > len(("up", "web", "quick", "slow", "pulse"))
    assert set(masks.values()) == {"0077"}


KILLS = {
    "main processes": ["web", "quick", "slow", "pulse"],
    "workers": ["web worker", "quick worker", "slow worker"],
}


@pytest.mark.one_database("processes; test_outage kills every part on PostgreSQL")
@pytest.mark.parametrize("kills", KILLS.values(), ids=KILLS)
def test_killed_process_is_restarted_without_orphans(portal: Portal, kills: list[str]) -> None:
    """Kill one process of each component; components do not depend on each other."""
    victims = [portal.process(part) for part in kills]
    for process in victims:
        process.kill()
    wait_for("every process is in its place", portal.is_complete)
    portal.wait_until_ready()
    assert not {process.pid for process in victims} & {process.pid for process in portal.processes()}
    leaders = {portal.main(name).pid for name in ("web", "quick", "slow", "pulse")}
    supervisor = portal.supervisor()
    assert all(process.group in leaders for process in portal.processes() if process.pid != supervisor.pid)


def test_task_that_kills_its_workers_is_abandoned_and_leaves_the_queue(portal: Portal) -> None:
    portal.enqueue("'up.poison', cluster='slow'")
    given_up = "SELECT error FROM portal_taskattempt WHERE name = 'up.poison' AND finished_at IS NOT NULL"
    [[error]] = wait_for("the task is given up", lambda: portal.sql(given_up))
    assert error == "given up: each attempt ended its worker"
    wait_for("the queue is empty", lambda: not portal.sql("SELECT 1 FROM django_q_ormq WHERE key = 'slow'"))


def test_stalled_cluster_restarts_alone(portal: Portal) -> None:
    stalled, other = portal.main("quick"), portal.main("slow")
    portal.process("quick worker").kill(signal.SIGSTOP)  # the first gets the task
    portal.enqueue("'up.nothing'")
    wait_for("the cluster is another", lambda: portal.main("quick").pid != stalled.pid)
    portal.wait_until_ready()
    assert portal.main("slow").pid == other.pid


def test_tasks_of_a_killed_cluster_are_done_by_the_next(portal: Portal) -> None:
    portal.enqueue("'up.sleep', 2, cluster='slow'", "'up.nothing', cluster='slow'")
    running = "SELECT 1 FROM portal_taskattempt WHERE name = 'up.sleep' AND attempts = 1"
    wait_for("the task runs", lambda: portal.sql(running))
    portal.main("slow").kill()
    done = "SELECT name FROM portal_taskattempt WHERE finished_at IS NOT NULL AND error = '' AND name LIKE 'up.%'"
    wait_for("both are done", lambda: {name for (name,) in portal.sql(done)} == {"up.sleep", "up.nothing"})


@pytest.mark.one_database("processes")
def test_killed_supervisor_ends_every_process(portal: Portal) -> None:
    portal.supervisor().kill()
    wait_for("nothing is left", lambda: not portal.processes())


def test_requested_end_lets_a_running_task_finish(portal: Portal) -> None:
    portal.sql("DELETE FROM portal_taskattempt")
    may_end = portal.directory / "may-end"
    portal.enqueue(f"'up.wait', {str(may_end)!r}, cluster='slow'", "'up.nothing', cluster='slow'")
    wait_for("the task runs", lambda: portal.sql("SELECT 1 FROM portal_taskattempt WHERE name = 'up.wait'"))
    assert portal.up is not None
    web = portal.main("web")
    portal.up.send_signal(signal.SIGTERM)
    wait_for("the portal ends", lambda: web not in portal.processes())
    may_end.touch()
    assert portal.up.wait(PATIENCE) == 0
    assert not portal.processes()
    done = portal.sql("SELECT name, error FROM portal_taskattempt WHERE finished_at IS NOT NULL AND name LIKE 'up.%'")
    assert done == [("up.wait", "")]
    assert len(portal.sql("SELECT 1 FROM django_q_ormq WHERE key = 'slow'")) == 1
