"""Servers and helpers for the tests of restore drills, and the fixtures of backups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from backups.drills import child, children
from backups.drills.assertions import Assertion
from backups.drills.children import PrivateServer, restore_dump
from backups.drills.outcomes import Outcome
from backups.drills.tests.dumps import DUMP, store
from backups.models import ExpectedBackupJob
from backups.tests.conftest import channel, job, make_job, roots
from demo.mariadb import is_installed, temporary_mariadb
from portal.tests.helpers.programs import require
from tests.postgres import debian_binaries, temporary_postgres

__all__ = ["channel", "job", "make_job", "roots"]


@pytest.fixture
def restore(tmp_path: Path) -> Callable[..., Outcome]:
    """Restore a dump, given as bytes or as a file, with these settings."""

    def restore(
        dump: bytes | Path,
        *assertions: Any,
        name: str = "dump.sql",
        kind: Any = None,
        server: PrivateServer | None = None,
        **given: Any,
    ) -> Outcome:
        path = dump if isinstance(dump, Path) else tmp_path / name
        if isinstance(dump, bytes):
            path.write_bytes(dump)
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        with path.open("rb") as file, override_settings(VIGIE_DATA_DIR=data, **given):
            return restore_dump(os.dup(file.fileno()), path.name, server, assertions, kind=kind)

    return restore


@pytest.fixture
def restore_here(tmp_path: Path) -> Callable[..., Outcome]:
    """Restore a dump in this process, which takes a tenth of the time, on the servers of these addresses."""

    def restore_here(dump: bytes, *assertions: Assertion, name: str = "dump.sql", **given: Any) -> Outcome:
        folder = tmp_path / "drill"
        folder.mkdir()
        path = folder / name
        path.write_bytes(dump)
        task: dict[str, Any] = {"name": name, "kind": None, "folder": str(folder), "seconds": 60, "max_bytes": 0}
        task |= {"reserve": 0, "postgres_url": "", "mysql_url": "", "assertions": [vars(each) for each in assertions]}
        try:
            return child.drill(task | {"descriptor": os.open(path, os.O_RDONLY)} | given)
        finally:
            shutil.rmtree(folder)

    return restore_here


@pytest.fixture(scope="session")
def postgres_18() -> Iterator[str]:
    """The address of a server of the test requirements' PostgreSQL, version 18."""
    with temporary_postgres(is_durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_debian() -> Iterator[str]:
    """The address of Debian's server. Without one a test is skipped, but fails in CI, which must install it."""
    require(debian_binaries(), "PostgreSQL", "postgresql")
    with temporary_postgres(is_durable=False, is_debian=True) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The address of Debian's MariaDB server. Without one a test is skipped, but fails in CI, which must install it."""
    require(is_installed(), "MariaDB", "mariadb-server")
    with temporary_mariadb() as url:
        yield url


@pytest.fixture
def make_stored_job(make_job: Callable[..., ExpectedBackupJob]) -> Callable[..., ExpectedBackupJob]:
    """Return a function that makes a job with a stored dump."""

    def make(name: str, dump: bytes = DUMP, **fields: Any) -> ExpectedBackupJob:
        job: ExpectedBackupJob = make_job(name, **fields)
        store(job, dump)
        return job

    return make


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Return a function that has something done while the dump is restored, at the first time."""

    def arrange(action: Callable[[], Any]) -> None:
        restore = children.restore_dump
        done: list[bool] = []

        def restoring(*args: Any, **kwargs: Any) -> Outcome:
            try:
                return restore(*args, **kwargs)
            finally:
                if not done:
                    done.append(True)
                    action()

        monkeypatch.setattr(children, "restore_dump", restoring)

    return arrange
