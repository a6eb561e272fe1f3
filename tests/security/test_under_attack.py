"""The portal stays responsive whatever a few hundred connections send to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.tests.helpers.portal_process import Portal, database
from tests.security import attacks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),  # its database is there to be copied
    pytest.mark.one_database("connections of the web server", despite=("transaction=True",)),
]

MEBIBYTE = 1024 * 1024
# Seconds for a response on a busy machine. Waiting for a slow sender would take the 10 seconds allowed for its head.
WITHIN = 5.0
NAMES = list(attacks.attacks("", "", "", ""))


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Portal]:
    directory: Path = tmp_path_factory.mktemp("portal")
    with database(directory) as url:
        portal = Portal(directory, url)
        try:
            portal.copy_tables()
            portal.start()
            yield portal
        finally:
            portal.clean_up()


@pytest.fixture(scope="module")
def prepared(portal: Portal) -> dict[str, attacks.Attack]:
    return attacks.prepared(portal)


@pytest.mark.parametrize("name", NAMES)
def test_portal_answers_every_request_while_under_attack(
    portal: Portal, prepared: dict[str, attacks.Attack], name: str
) -> None:
    web = [portal.main("web"), *portal.children(portal.main("web"))]
    for process in web:
        process.reset_peak_memory()
    before = {process.pid: process.peak_memory() for process in web}
    with attacks.under(portal.port, prepared[name]) as siege:
        tries = 0
        while tries < 5 or not siege.is_over():
            siege.go_on()
            assert attacks.answers(portal.port, WITHIN), f"try {tries}"
            tries += 1
        assert siege.statuses() <= prepared[name].statuses
    assert [process.pid for process in portal.children(portal.main("web"))] == [process.pid for process in web[1:]]
    grown = {process.pid: (process.peak_memory() - before[process.pid]) / MEBIBYTE for process in web}
    assert max(grown.values()) < 64
