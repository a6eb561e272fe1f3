"""Settings: documented, validated when read, and refused with a message."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal import settings as portal_settings
from portal.access.tokens import peppers
from portal.base.env import Environment, read_or_create_secret
from portal.checks import check_https

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def test_documented_settings_are_exactly_the_existing_ones():
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)) == portal_settings.env.names


def start(tmp_path, *arguments, **variables):
    """Run `manage.py check`, or another command, with these variables."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = kept | {"VIGIE_DATA_DIR": str(tmp_path / "data")} | variables
    return subprocess.run(
        [sys.executable, "manage.py", *(arguments or ["check"])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


INVALID = [
    ("SECRET_KEY", "short"), ("TOKEN_PEPPER", "short"), ("DATABASE_URL", "nonsense"), ("DATABASE_URL", "mysql://u:hunter2@h/d"),
    ("DEBUG", "maybe"), ("HTTPS", "2"), ("PORTAL_URL", "vigie.example.org"), ("PORTAL_URL", "https://vigie example"),
    ("DATABASE_URL", "postgresql://"), ("DATABASE_URL", "sqlite://:memory:"), ("TIME_ZONE", "Paris"), ("TRUSTED_PROXIES", "10.0.0.300"),
    ("WEB_WORKERS", "0"), ("WEB_WORKERS", "many"), ("SLOW_WORKERS", "1"), ("HEARTBEAT_INTERVAL_SECONDS", "1"), ("EMAIL_URL", "carrier-pigeon://x"),
    ("PORTAL_LANGUAGE", "de"), ("ENCRYPTION_KEY", "short"), ("TELEGRAM_API_BASE", "telegram"), ("SECRET_KEY_FILE", "/nowhere"),
    ("PORTAL_BACKUP_TARGET", "/mnt/backups"), ("PORTAL_BACKUP_PASSPHRASE", "secret"), ("PORTAL_BACKUP_KEEP", "0"), ("PORTAL_BACKUP_TARGET", "ftp://u:hunter2@h/x"),
]  # fmt: skip
# Starts the portal with each value in a fork of one process, since most of a start goes into importing Django.
START_WITH_EACH = """
import json, os, sys
import manage, portal.settings
del sys.modules["portal.settings"]  # its imports stay, and each fork reads the settings anew
sys.argv = ["manage.py", "check"]
for name, value in json.loads(sys.stdin.read()):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.environ[name] = value
        os.dup2(writing, 2)
        manage.main()
        os._exit(0)
    os.close(writing)
    with open(reading) as output:
        print(json.dumps([name, value, output.read(), os.waitstatus_to_exitcode(os.wait()[1])]), flush=True)
"""


def test_invalid_value_stops_the_start_and_is_named(tmp_path):
    environment = {"PATH": os.environ["PATH"], "VIGIE_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", START_WITH_EACH],
        cwd=ROOT, env=environment, input=json.dumps(INVALID), capture_output=True, text=True, check=True,
    )  # fmt: skip
    starts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(name, value) for name, value, _, _ in starts] == INVALID
    for name, value, output, code in starts:
        assert code != 0, (name, value)
        assert output.startswith("vigie: "), (name, value)
        assert name in output, (name, value)
        assert "Traceback" not in output
        assert "hunter2" not in output


IMPORT = """
import sys
import portal.settings
import django
sys.dont_write_bytecode = True
django.setup()
from django.core.management import call_command
call_command("check")
"""


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [(None, ["-c", IMPORT]), (0o500, ["-c", IMPORT]), (None, ["manage.py", "prepare", "--help"]), (None, ["manage.py", "diffsettings"])],
)  # fmt: skip
def test_importing_the_settings_creates_nothing(tmp_path, mode, arguments):
    data = tmp_path / "data"
    if mode is not None:
        data.mkdir(mode)
    environment = {"PATH": os.environ["PATH"], "VIGIE_DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "portal.settings"}
    done = subprocess.run(
        [sys.executable, "-B", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ([] if mode is None else ["data"])


def test_unwritable_data_directory_stops_prepare_with_a_message(tmp_path):
    (tmp_path / "data").write_text("a file")
    done = start(tmp_path, "prepare")
    assert done.returncode != 0
    assert done.stderr.startswith("vigie: VIGIE_DATA_DIR cannot be made: ")


def test_generated_secret_is_kept_on_first_use(tmp_path):
    environment = Environment({})
    secret = environment.secret("TOKEN_PEPPER", tmp_path, peppers.parse_peppers)
    assert secret
    assert list(tmp_path.iterdir()) == []
    assert list(secret) == [1]
    assert secret[1].decode() == (tmp_path / "token_pepper").read_text()
    assert environment.secret("TOKEN_PEPPER", tmp_path, peppers.parse_peppers) == secret


@pytest.mark.parametrize("value", ["", "-1001234567890", "4711", "@our_news", "-1001234567890/7"])
def test_telegram_chat_may_name_a_topic(value):
    assert Environment({"TELEGRAM_CHAT_ID": value}).chat("TELEGRAM_CHAT_ID") == value


@pytest.mark.parametrize(
    "value", ["", "mysql://u:p%40ss@db.example.org:3306", "mysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock"]
)
def test_server_is_read(value):
    assert Environment({"DRILL_MYSQL_URL": value}).url("DRILL_MYSQL_URL", "mysql") == value


@pytest.mark.parametrize("value", ["mysql//u:secret@db", "postgresql://u:secret@db/x", "u:secret@db"])
def test_server_is_refused_without_showing_its_password(value):
    with pytest.raises(ImproperlyConfigured, match="DRILL_MYSQL_URL") as refusal:
        Environment({"DRILL_MYSQL_URL": value}).url("DRILL_MYSQL_URL", "mysql")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("value", ["our news", "-100/general", "-100/", "https://t.me/our_news"])
def test_malformed_telegram_chat_is_refused(value):
    with pytest.raises(ImproperlyConfigured, match="TELEGRAM_CHAT_ID"):
        Environment({"TELEGRAM_CHAT_ID": value}).chat("TELEGRAM_CHAT_ID")


def test_secret_may_come_from_a_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("from the file\n")
    assert Environment({"TOKEN_FILE": str(path)}).text("TOKEN") == "from the file"
    with pytest.raises(ImproperlyConfigured, match="TOKEN and TOKEN_FILE"):
        Environment({"TOKEN_FILE": str(path), "TOKEN": "x"}).text("TOKEN")


def test_stored_secret_is_generated_once(tmp_path):
    first = read_or_create_secret(tmp_path, "key")
    assert len(first) > 50
    assert read_or_create_secret(tmp_path, "key") == first
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("word", "value"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("off", False), ("", False)]
)
def test_switch_accepts_only_its_words(word, value):
    assert Environment({"SWITCH": word}).boolean("SWITCH", default=not value) is value


@pytest.mark.parametrize(("given", "is_pooled"), [("", False), ("on", True)])
def test_pooled_database_gets_no_cursors_of_the_server(tmp_path, given, is_pooled):
    lines = "import portal.settings; print(portal.settings.DATABASES['default']['DISABLE_SERVER_SIDE_CURSORS'])"
    environment = {"PATH": os.environ["PATH"], "VIGIE_DATA_DIR": str(tmp_path), "DATABASE_POOLED": given}
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{is_pooled}\n"


@pytest.mark.parametrize(
    ("given", "host"),
    [("postgresql://u:p@db/name", "db"), ("postgresql://u:@/db?host=/run/postgresql", "/run/postgresql")],
)
def test_socket_directory_goes_into_the_query(given, host):
    database = Environment({"DATABASE_URL": given}).database("DATABASE_URL", Path("unused"))
    assert (database.get("OPTIONS", {}).get("host") or database["HOST"]) == host


@pytest.mark.parametrize(
    ("given", "user", "password", "host", "port", "name"),
    [("postgresql://u:p@db.example.org:5433/vigie", "u", "p", "db.example.org", "5433", "vigie"),
     ("postgres://u@db/vigie", "u", "", "db", "", "vigie"), ("postgresql:///vigie", "", "", "", "", "vigie"),
     ("postgresql://u:p%40%2Fw@db/vigie", "u", "p@/w", "db", "", "vigie"),
     ("postgresql://u:p#?/w@db/vigie", "u", "p#?/w", "db", "", "vigie"),
     ("postgresql://u:p@[::1]:5432/vigie", "u", "p", "::1", "5432", "vigie"),
     ("postgresql://u:p@a:1,b:2/vigie", "u", "p", "a,b", "1,2", "vigie"),
     ("postgresql:////run/postgresql/vigie", "", "", "/run/postgresql", "", "vigie")],
)  # fmt: skip
def test_database_url_is_split_whatever_its_password_holds(given, user, password, host, port, name):
    database = Environment({"DATABASE_URL": given}).database("DATABASE_URL", Path("unused"))
    assert database == {
        "ENGINE": "django.db.backends.postgresql", "USER": user, "PASSWORD": password, "HOST": host, "PORT": port,
        "NAME": name, "OPTIONS": {},
    }  # fmt: skip


def test_query_of_a_database_url_becomes_connection_options():
    address = "postgresql://u:p@db/vigie?connect_timeout=3&sslmode=verify-full"
    database = Environment({"DATABASE_URL": address}).database("DATABASE_URL", Path("unused"))
    assert (database["NAME"], database["OPTIONS"]) == ("vigie", {"connect_timeout": 3, "sslmode": "verify-full"})


@pytest.mark.parametrize(
    "value", ["", "postgresql://u:p@db:port/vigie", "postgresql://u:p@db/", "sqlite://", "redis://db/0"]
)
def test_unusable_database_url_is_refused_without_its_password(value):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must be") as caught:
        Environment({"DATABASE_URL": value}).database("DATABASE_URL", Path("unused"))
    assert "u:p" not in str(caught.value)


def test_sqlite_file_is_named_by_a_url_or_the_data_directory():
    name = "/srv/100% vigie?/db.sqlite3"
    assert Environment({}).database("DATABASE_URL", Path(name))["NAME"] == name
    given = Environment({"DATABASE_URL": "sqlite:////srv/my%20file"})
    assert given.database("DATABASE_URL", Path("unused"))["NAME"] == "/srv/my file"


@pytest.mark.parametrize(
    ("given", "backend", "host", "port", "user", "password", "tls", "ssl"),
    [("smtp://mail", "smtp", "mail", None, "", "", False, False),
     ("smtp+tls://bob@example.org:p%40#w@mail:587", "smtp", "mail", 587, "bob@example.org", "p@#w", True, False),
     ("smtps://u:p@mail", "smtp", "mail", None, "u", "p", True, False),
     ("smtp+ssl://u:p@mail:465", "smtp", "mail", 465, "u", "p", False, True),
     ("consolemail://", "console", "", None, "", "", False, False)],
)  # fmt: skip
def test_mail_url_names_server_account_and_encryption(given, backend, host, port, user, password, tls, ssl):
    assert Environment({"EMAIL_URL": given}).email("EMAIL_URL", "dummymail://") == {
        "EMAIL_BACKEND": f"django.core.mail.backends.{backend}.EmailBackend", "EMAIL_HOST": host, "EMAIL_PORT": port,
        "EMAIL_HOST_USER": user, "EMAIL_HOST_PASSWORD": password, "EMAIL_USE_TLS": tls, "EMAIL_USE_SSL": ssl,
        "EMAIL_FILE_PATH": "",
    }  # fmt: skip


def test_mail_url_may_name_a_folder():
    mail = Environment({"EMAIL_URL": "filemail:////srv/my%20mails"}).email("EMAIL_URL", "dummymail://")
    assert (mail["EMAIL_BACKEND"].split(".")[-2], mail["EMAIL_FILE_PATH"]) == ("filebased", "/srv/my mails")


def test_unresponsive_postgresql_times_out_within_half_a_minute(tmp_path):
    code = "from portal.settings import DATABASES; print(DATABASES['default']['OPTIONS'])"
    address = "postgresql://u:p@db.example.org/vigie?connect_timeout=3"
    environment = os.environ | {"VIGIE_DATA_DIR": str(tmp_path), "DATABASE_URL": address}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    options = ast.literal_eval(told.stdout)
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] <= 30
    assert (options["tcp_user_timeout"], str(options["connect_timeout"])) == (30_000, "3")


PROXY = {"HTTPS": "1", "TRUSTED_PROXIES": "127.0.0.1", "PORTAL_URL": "https://vigie.example.org"}


@pytest.mark.parametrize(
    ("variables", "found"),
    [({}, set()), (PROXY, set()), ({"PORTAL_URL": "http://vigie.example.org"}, {"vigie.W002"})],
)
def test_deployment_checks_are_clean_as_shipped_and_name_missing_https(tmp_path, variables, found):
    done = start(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **variables)
    assert set(re.findall(r"\((\w+\.\w+)\)", done.stderr)) == found, done.stderr
    assert bool(done.returncode) is bool(found)


@pytest.mark.parametrize(
    ("host", "found"), [("*", {"vigie.W002"}), ("vigie.example.org", {"vigie.W002"}), ("[::1]", set()), ("app.localhost", set())]
)  # fmt: skip
def test_missing_https_is_named_where_other_machines_reach_the_portal(settings, host, found):
    settings.ALLOWED_HOSTS = ["127.0.0.1", host]
    assert {warning.id for warning in check_https(None)} == found


def test_https_marks_every_cookie_as_secure_and_of_this_host(tmp_path):
    shown = start(tmp_path, "diffsettings", **PROXY).stdout
    found = dict(re.findall(r"^(\w+COOKIE\w+) = (.+?)(?:  ###)?$", shown, re.MULTILINE))
    assert {name: value for name, value in found.items() if name.endswith(("SECURE", "NAME"))} == {
        "SESSION_COOKIE_SECURE": "True",
        "CSRF_COOKIE_SECURE": "True",
        "LANGUAGE_COOKIE_SECURE": "True",
        "SESSION_COOKIE_NAME": "'__Host-sessionid'",
        "CSRF_COOKIE_NAME": "'__Host-csrftoken'",
    }
