"""The commands that the documents name: their options exist, and those to copy do what they say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands, load_command_class
from vigie_client.cli.options import parse_arguments

from backups.tests.factories import dump
from beta.tests.factories import create_programme, create_target
from monitoring.models import Target
from monitoring.tests.helpers.http_service import HttpService

pytestmark = pytest.mark.one_database("the options of commands are the same", despite=("migrat",))
ROOT = Path(__file__).parent.parent
READMES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "client/README.md")]
DOCUMENTS = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in [*READMES, *(ROOT / "docs").glob("*.md")]
}
SHELL = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
# In a block up to the end of the line, which a backslash moves on; in a sentence up to the end of the code.
TO_COPY = re.compile(r"(?:manage\.py|vigie-client) (?=[a-z])((?:\\\n|[^\n|])*)")
IN_SENTENCE = re.compile(r"`(?:manage\.py|vigie-client) (?=[a-z])([^`\n|…]*)`")
# Other modules run the commands that begin so, which need processes, servers or a verdict of their own.
TESTED_ELSEWHERE = {
    ("prepare",): "portal/tests/supervisor/up/test_prepare.py",
    ("migrate",): "tests/test_migrate.py",
    ("up",): "portal/tests/supervisor/up/test_up.py",
    ("doctor",): "portal/tests/status/test_doctor_runs.py",
    ("backup_portal", "/srv/vigie/backups", "--passphrase-file"): "tests/archives/test_commands_of_docs.py",
    ("restore_portal", "/srv/vigie/backups/"): "tests/archives/test_commands_of_docs.py",
    ("import_legacy", "old/"): "tests/legacy/test_commands_of_docs.py",
    ("beta_monitor", "--watch"): "monitoring/tests/test_beta_monitor.py",
    ("beta_monitor", "--test-telegram"): "monitoring/tests/test_beta_monitor.py",
    ("beta_report", "--programme", "spring-beta", "--check"): "beta/tests/test_command.py",
    ("drill", "--agent"): "backups/drills/tests/test_runs.py",
    ("scan_backups", "--agent"): "backups/tests/test_machine_names.py",
}
DUMP = "BEGIN TRANSACTION;\nCREATE TABLE t (id integer);\nINSERT INTO t VALUES(1);\nCOMMIT;\n"


def read_command(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text.replace("\\\n", " "), comments=True))


def commands(pattern: re.Pattern[str], program: str) -> Iterator[tuple[str, ...]]:
    for text in DOCUMENTS.values():
        for part in SHELL.findall(text) if pattern is TO_COPY else [text]:
            yield from (read_command(found[1]) for found in pattern.finditer(part) if program in found[0])


OF_PORTAL = sorted({*commands(TO_COPY, "manage.py"), *commands(IN_SENTENCE, "manage.py")})
OF_CLIENT = sorted({*commands(TO_COPY, "vigie-client"), *commands(IN_SENTENCE, "vigie-client")})
COPIED = {*commands(TO_COPY, "manage.py")}


def begins_with(command: tuple[str, ...], beginning: tuple[str, ...]) -> bool:
    return command[0] == beginning[0] and " ".join(command).startswith(" ".join(beginning))


EXECUTED = sorted(each for each in COPIED if not any(begins_with(each, known) for known in TESTED_ELSEWHERE))


@pytest.mark.parametrize("command", OF_PORTAL, ids=" ".join)
def test_documented_command_of_the_portal_has_these_options(command: tuple[str, ...]) -> None:
    name, *arguments = command
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    if arguments:  # a name alone stands for the command in a sentence
        parser.parse_args(arguments)


@pytest.mark.parametrize("command", OF_CLIENT, ids=" ".join)
def test_documented_command_of_the_client_has_these_options(command: tuple[str, ...]) -> None:
    name, *arguments = command
    if arguments:
        parse_arguments(command)
    else:
        with pytest.raises(SystemExit, match="0"):
            parse_arguments([name, "--help"])


@pytest.mark.parametrize(("beginning", "module"), TESTED_ELSEWHERE.items(), ids=map(" ".join, TESTED_ELSEWHERE))
def test_command_that_is_not_run_here_is_copied_and_run_by_another_module(
    beginning: tuple[str, ...], module: str
) -> None:
    assert any(begins_with(command, beginning) for command in COPIED)
    text = (ROOT / module).read_text(encoding="utf-8")
    documents = [str(name) for name, written in DOCUMENTS.items() if " ".join(beginning) in written]
    words = [beginning[0], *(word for word in beginning if word.startswith("--"))]
    assert any(name in text for name in documents) or [word for word in words if word not in text] == []


@pytest.fixture
def world(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Make what the commands name; yield the texts to replace in them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump.sql.gz").write_bytes(dump(DUMP))
    User.objects.create_user("alice", email="alice@example.org")
    programme = create_programme()
    with HttpService() as service:
        target = create_target("shop", beta_programme=programme)
        Target.objects.filter(pk=target.pk).update(url=service.url)
        yield {"WHO": "alice@example.org", "https://shop.example.org": service.url}


@pytest.mark.parametrize("command", EXECUTED, ids=" ".join)
def test_documented_command_ends_well(command: tuple[str, ...], world: dict[str, str]) -> None:
    name, *arguments = (world.get(word, word) for word in command)
    call_command(name, *arguments, *(["--yes"] if command == ("erase_subject", "WHO") else []))
