"""The checks of `manage.py doctor` on sandboxes."""

import psycopg
import pytest

from backups import doctor
from backups.models import DrillSandbox
from portal.tests.helpers.doctor import rows_of


@pytest.mark.django_db
def test_sandbox_that_the_last_drill_could_not_use_is_a_warning(settings, monkeypatch):
    monkeypatch.setattr(doctor, "find_binaries", lambda: None)
    settings.DRILL_POSTGRES_URL, settings.DRILL_MYSQL_URL = "", "mysql://root:swordfish@db.example"
    DrillSandbox.objects.create(engine="mysql", trouble={"message": "connection refused"})
    rows = rows_of("drill_sandboxes")
    assert {name.removeprefix("drill_sandbox_"): row.status for name, row in rows.items()} == {
        "sqlite": "ok",
        "postgresql": "ok",
        "mysql": "warning",
    }
    assert rows["drill_sandbox_mysql"].detail.endswith("connection refused")
    assert "DRILL_POSTGRES_URL" in rows["drill_sandbox_postgresql"].detail


def test_servers_that_are_not_configured_are_not_reported(settings):
    settings.DRILL_POSTGRES_URL = settings.DRILL_MYSQL_URL = ""
    assert rows_of("drill_servers") == {}


@pytest.mark.one_database("the sandbox's server")
def test_server_of_mysql_is_logged_in_to(settings, mariadb):
    settings.DRILL_MYSQL_URL = mariadb
    row = rows_of("drill_servers")["drill_server_mysql"]
    assert (row.status, row.detail.split()[0]) == ("ok", "MariaDB")


@pytest.mark.one_database("the sandbox's server")
def test_role_without_rights_on_the_postgresql_server_is_a_failure(settings, postgres_18):
    settings.DRILL_POSTGRES_URL = postgres_18
    assert rows_of("drill_servers")["drill_server_postgresql"].status == "ok"
    with psycopg.connect(postgres_18, autocommit=True) as admin:
        admin.execute("CREATE ROLE reader LOGIN")
        try:
            settings.DRILL_POSTGRES_URL = postgres_18.replace("://postgres", "://reader")
            row = rows_of("drill_servers")["drill_server_postgresql"]
        finally:
            admin.execute("DROP ROLE reader")
    assert row.status == "failed"


@pytest.mark.parametrize(
    ("setting", "name"),
    [("DRILL_POSTGRES_URL", "drill_server_postgresql"), ("DRILL_MYSQL_URL", "drill_server_mysql")],
)
@pytest.mark.one_database("the sandbox's server")
def test_server_that_does_not_answer_is_a_failure_without_its_password(settings, setting, name):
    setattr(settings, setting, f"{'postgresql' if 'POSTGRES' in setting else 'mysql'}://u:swordfish@127.0.0.1:1/d")
    row = rows_of("drill_servers")[name]
    assert row.status == "failed"
    assert "swordfish" not in row.detail
