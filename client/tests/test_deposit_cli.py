from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Callable

import pytest

from vigie_client import Credentials, TokenStore
from vigie_client.cli import main
from vigie_client.cli.options import parse_arguments

Command = Callable[..., int]
FILE = "/api/v1/backups/deposits/database/a.sql.gz"


@pytest.fixture
def command(portal: Any, deposits: Any, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs `vigie-client deposit` and returns its exit status."""
    for name in ("VIGIE_TOKEN", "VIGIE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: Any) -> int:
        common = [
            "deposit",
            "--server",
            portal.url,
            "--state-dir",
            str(deposits.state),
            "--timeout",
            "20",
            "--deadline",
            "9",
        ]
        return main([*common, *map(str, arguments)])

    return run


@pytest.fixture
def enrolled(deposits: Any, token: str) -> None:
    TokenStore(deposits.state).save(Credentials("PC-1", token))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    return json.loads(output)


def test_deposit_uploads_with_the_machines_token(
    portal: Any, command: Command, enrolled: None, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--database", "a", "--command", "echo a | cat") == 0
    file, report = portal.uploads
    assert (file.name, file.headers["Authorization"]) == ("database/a.sql.gz", f"Bearer {token}")
    assert json.loads(report.body)["agent_id"] == "PC-1"
    entry = {"name": "a", "status": "deposited", "size": file.size, "sha256": file.sha256, "error": None}
    told = {"status": "deposited", "report": report.name[4:], "databases": [entry], "quarantined": 0}
    assert printed(capsys) == told


def test_deposit_writes_several_databases_to_a_folder(
    portal: Any, deposits: Any, command: Command, enrolled: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.sql").write_text("b")
    groups = ["--database", "a", "--command", "echo a", "--database", "b", "--file", tmp_path / "b.sql"]
    assert command(*groups, "--to", deposits.folder) == 0
    assert [entry["name"] for entry in printed(capsys)["databases"]] == ["a", "b"]
    assert gzip.decompress(deposits.staged("b.sql.gz", agent="PC-1").read_bytes()) == b"b"
    assert portal.attempts == []


def test_deposit_to_a_folder_needs_no_enrolment(deposits: Any, command: Command) -> None:
    assert command("--to", deposits.folder, "--agent-id", "PC-2", "--database", "a", "--command", "echo a") == 0
    assert deposits.reports("PC-2")[0]["agent_id"] == "PC-2"


@pytest.mark.parametrize("to_folder", [True, False])
def test_agent_id_in_another_case_is_the_enrolled_one(
    portal: Any, deposits: Any, command: Command, enrolled: None, to_folder: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--to", deposits.folder] if to_folder else []
    assert command(*place, "--agent-id", "pc-1", "--database", "a", "--command", "echo a") == 0
    assert printed(capsys)["report"].endswith("_PC-1.json")


def test_deposit_exits_with_1_if_one_database_fails(
    deposits: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = ["--database", "a", "--command", "false | gzip", "--database", "b", "--command", "echo b"]
    assert command(*groups, "--to", deposits.folder) == 1
    result = printed(capsys)
    assert result["status"] == "failed"
    assert [entry["status"] for entry in result["databases"]] == ["failed", "deposited"]
    assert result["databases"][0]["error"] == "the dump command ended with status 1"


def test_deposit_exits_with_1_if_the_portal_refuses(
    portal: Any, answer: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(FILE, answer(413, {"code": "body_too_large"}))
    assert command("--database", "a", "--command", "echo a") == 1
    result = printed(capsys)
    assert result["databases"][0]["error"] == "refused 413 body_too_large"
    assert result["report"] is not None


def test_deposit_exits_with_1_if_the_report_is_not_delivered(
    deposits: Any, command: Command, enrolled: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--database", "a", "--command", "echo a", "--to", tmp_path / "unmounted") == 1
    assert printed(capsys)["report"] is None


def test_deposit_gives_up_after_its_deadline(
    portal: Any, answer: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(FILE, answer(503, {}))
    assert command("--deadline", "0.1", "--database", "a", "--command", "echo a") == 1
    assert portal.attempts.count(FILE) == 1


def test_deposit_kills_a_command_after_its_timeout(
    command: Command, deposits: Any, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    group = ["--database", "a", "--command", "sleep 1000", "--to", deposits.folder]
    assert command("--timeout-dump", "0.1", *group) == 1
    assert printed(capsys)["databases"][0]["error"] == "the dump command took longer than 0.1 s"


A, FROM = ("--database", "a"), ("--command", "echo a")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "use --database NAME"),
        (A, "either a command or a file"),
        ((*FROM, *A), "--command must follow a --database NAME"),
        ((*A, *FROM, *FROM), "--command is given twice"),
        ((*A, *FROM, "--file", "x"), "either a command or a file"),
        ((*A, *FROM, *A, *FROM), "given twice"),
        ((*A, *A, *FROM), "either a command or a file"),
        ((*A, "--command", "echo 'a"), "No closing quotation"),
        ((*A, *FROM, "--agent-id", "another"), "under its own id"),
        ((*A, *FROM, "--server", "vigie.example.org"), "begin with https://"),
        ((*A, *FROM, "--server", ""), "no server"),
    ],
)
def test_wrong_usage_of_deposit_exits_with_2(
    command: Command, enrolled: None, portal: Any, arguments: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.out == ""
    assert portal.attempts == []


@pytest.mark.parametrize("option", ["--deadline", "--timeout-dump"])
@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_invalid_seconds_exit_with_2(command: Command, option: str, seconds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        command(*A, *FROM, option, seconds)
    assert caught.value.code == 2


def test_shell_command_without_bash_exits_with_2(
    command: Command, deposits: Any, enrolled: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert command(*A, "--command", "echo a | cat", "--to", deposits.folder) == 2
    assert "there is no bash here" in capsys.readouterr().err
    assert list(deposits.folder.iterdir()) == []


def test_deposit_needs_an_enrolment_or_an_agent_id(
    command: Command, deposits: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*A, *FROM, "--to", deposits.folder) == 2
    assert "--agent-id" in capsys.readouterr().err
    assert command(*A, *FROM, "--agent-id", "PC-1") == 1
    assert "isn't enrolled" in capsys.readouterr().err


def test_deposit_reads_the_token_from_a_file(portal: Any, command: Command, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("vigie_agent_other")
    assert command(*A, *FROM, "--token-file", tmp_path / "token", "--agent-id", "PC-3") == 0
    assert {sent.headers["Authorization"] for sent in portal.uploads} == {"Bearer vigie_agent_other"}


def test_deposit_has_a_longer_socket_timeout_than_other_commands() -> None:
    options = parse_arguments(["deposit", *A, *FROM])
    assert (options.timeout, options.deadline, options.timeout_dump) == (60, 3600, None)
    assert parse_arguments(["heartbeat"]).timeout == 4


def test_deposit_never_prints_the_token(
    portal: Any, answer: Any, command: Command, enrolled: None, token: str, capfd: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(FILE, answer(401, {"code": "invalid_token", "detail": token}))
    said = f"echo '{token}' >&2; exit 1"
    assert command(*A, *FROM, "--database", "b", "--command", said) == 1
    output = capfd.readouterr()
    assert token not in output.out + output.err
    assert "auth 401 invalid_token" in output.out
    assert token not in portal.uploads[-1].body.decode()
