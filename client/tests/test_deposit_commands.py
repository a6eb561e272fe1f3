"""Dump commands must succeed in every part and write something."""

from __future__ import annotations

import os
import select
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from vigie_client import Dump
from vigie_client.deposits.dump_commands import needs_shell
from vigie_client.deposits.errors import DumpFailed, sanitize_line

pytestmark = pytest.mark.skipif(os.name == "nt", reason="bash and signals")


def output_of(command: Any, **more: Any) -> bytes:
    return b"".join(Dump("a", command=command).content(**more))


def failure_of(command: Any, **more: Any) -> str:
    with pytest.raises(DumpFailed) as caught:
        output_of(command, **more)
    return str(caught.value)


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("printf '%s|' 'a b' \"c;d\" e\\ f", b"a b|c;d|e f|"),
        ("echo hello | tr a-z A-Z", b"HELLO\n"),
        ("X=1; echo $X", b"1\n"),
        ("NAME=value printenv NAME", b"value\n"),
        (["echo", "a | b"], b"a | b\n"),
    ],
)
def test_command_is_run_as_written(command: Any, output: bytes) -> None:
    assert output_of(command) == output


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pg_dump -U me --table 'public.*' \"my db\"", False),
        ("pg_dump 'a|b' \"c|d\" e\\|f", False),
        ('pg_dump "it\'s" x', False),
        ("pg_dump a | gzip", True),
        ("pg_dump a > f", True),
        ("a && b", True),
        ("pg_dump $DB", True),
        ('pg_dump "$DB"', True),
        ("pg_dump '$DB'", False),
        ('pg_dump "\\$DB"', False),
        ("pg_dump `db`", True),
        ("pg_dump 'it'\\''s' | x", True),
        ("cat ~/x", True),
        ("PGPASSWORD=x pg_dump", True),
        ("pg_dump --format=c", False),
        ("a\nb", True),
    ],
)
def test_shell_is_used_only_for_shell_operators(command: str, expected: bool) -> None:
    assert needs_shell(command) is expected


def test_command_without_operators_runs_without_bash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dump").symlink_to(shutil.which("echo") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert output_of("dump a") == b"a\n"
    with pytest.raises(ValueError, match="no bash here"):
        Dump("a", command="dump a | dump b").check()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "the dump command ended with status 1"),
        ("false | gzip", "the dump command ended with status 1"),
        ("{ echo half; exit 4; } | gzip", "the dump command ended with status 4"),
        (
            "cat /nowhere/at-all | cat",
            "the dump command ended with status 1: cat: /nowhere/at-all: No such file or directory",
        ),
        ("echo a | false", "the dump command ended with status 1"),
        ("nonexistent-dump a", "the dump command can't be started: there is no such program"),
        (python("import os; os.kill(os.getpid(), 9)"), "the dump command was killed by SIGKILL"),
        (
            python("print('a', flush=True); import os; os.kill(os.getpid(), 15)"),
            "the dump command was killed by SIGTERM",
        ),
        ("bash -c 'kill -9 $$' | cat", "the dump command ended with status 137 (SIGKILL)"),
        (["echo", "a\0b"], "the dump command can't be started: it holds what no argument may"),
    ],
)
def test_failure_of_any_part_fails_the_dump(command: Any, message: str) -> None:
    assert failure_of(command) == message


def test_missing_program_of_a_pipeline_is_named() -> None:
    assert failure_of("nonexistent-dump | gzip").endswith("nonexistent-dump: command not found")


def test_command_without_execute_permission_fails(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("")
    assert failure_of([str(tmp_path / "dump")]) == "the dump command can't be started: Permission denied"


@pytest.mark.parametrize("command", ["true", "true | gzip", "printf ''"])
def test_command_without_output_fails(deposits: Any, command: str) -> None:
    result = deposits.deposit(Dump("a", command=command))
    assert [database.error for database in result.databases] == ["the dump is empty"]
    assert list(deposits.staged("").iterdir()) == []


def test_error_quotes_only_the_last_line_of_stderr() -> None:
    message = (
        r"import sys; sys.stderr.write('first\nprogress 1\rprogress 2\n\n  last\twords \x1b[0m\n \n'); sys.exit(3)"
    )
    assert failure_of(python(message)) == "the dump command ended with status 3: last words [0m"


def test_quoted_line_is_cut() -> None:
    message = "import sys; sys.stderr.write('begun ' + 'x' * 10_000_000 + 'ended'); sys.exit(3)"
    message = failure_of(python(message))
    assert message.startswith("the dump command ended with status 3: begun xxx")
    assert message.endswith("x…")
    assert len(message) < 300


def test_large_stderr_does_not_block_the_dump() -> None:
    talk = "import sys; [sys.stderr.write('noise\\n' * 1000) for _ in range(50)]; print('dump')"
    assert output_of(python(talk)) == b"dump\n"


@pytest.mark.parametrize(
    ("message", "quoted"),
    [
        ("bad conninfo: host=db password=hunter2 user=me", "bad conninfo: host=db password=*** user=me"),
        ("PGPASSWORD='hun ter2'; x", "PGPASSWORD=***; x"),
        ('{"password": "hunter2"}', '{"password": ***}'),
        ("--db-password=hunter2", "--db-password=***"),
        ("Pwd: hunter2", "Pwd: ***"),
        ("mysqldump -uroot -phunter2 db", "mysqldump -uroot -p*** db"),
        ("can't reach postgres://me:hun@ter2@db:5432/x", "can't reach postgres://***@db:5432/x"),
        ("vigie_agent_AAAA_hunter2_000000 is refused", "*** is refused"),
        ('password authentication failed for user "me"', 'password authentication failed for user "me"'),
    ],
)
def test_secrets_in_stderr_are_masked(message: str, quoted: str) -> None:
    assert sanitize_line(message) == quoted
    assert failure_of(["sh", "-c", 'printf "%s" "$1" >&2; exit 1', "sh", message]).endswith(": " + quoted)


def test_command_printed_by_bash_is_not_quoted() -> None:
    """bash prints a killed part of a pipeline."""
    assert failure_of("true | bash -c 'kill -9 $$' --user=me/hunter2").endswith("status 137 (SIGKILL)")


def test_command_does_not_inherit_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_TOKEN", "secret")
    assert output_of("printenv VIGIE_TOKEN || echo none") == b"none\n"


def test_command_has_no_input() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"typed by somebody\n")
    os.close(writing)
    original = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert output_of("cat; echo end") == b"end\n"
    finally:
        os.dup2(original, 0)
        os.close(original)
        os.close(reading)


class Impatient:
    """Replaces `threading.Timer`; the test decides when it expires."""

    waiting: list[Callable[[], None]] = []

    def __init__(self, _: float, expire: Callable[[], None]) -> None:
        self.waiting[:] = [expire]

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        pass


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Return a command whose children keep a pipe open, and the other end of the pipe."""
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield f"exec 3>'{fifo}'; echo a; sleep 1000 | cat", reader
    os.close(reader)


def nobody_holds(reader: int) -> bool:
    """Wait for the end of the pipe, which comes once no child holds it."""
    return bool(select.select([reader], [], [], 30)[0]) and os.read(reader, 1) == b""


def test_timeout_kills_the_command_with_its_children(held: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigie_client.deposits.dump_commands.threading.Timer", Impatient)
    content = Dump("a", command=held[0]).content(timeout=90)
    assert next(content) == b"a\n"
    Impatient.waiting[0]()
    with pytest.raises(DumpFailed, match="longer than 90 s"):
        next(content)
    assert nobody_holds(held[1])


def test_closing_the_dump_kills_the_command(held: tuple[str, int]) -> None:
    content = Dump("a", command=held[0]).content()
    assert next(content) == b"a\n"
    content.close()
    assert nobody_holds(held[1])


def test_timer_kills_a_silent_command() -> None:
    assert failure_of("sleep 1000", timeout=0.05) == "the dump command took longer than 0.05 s"


def test_command_within_its_timeout_succeeds() -> None:
    assert output_of("echo a", timeout=600) == b"a\n"
