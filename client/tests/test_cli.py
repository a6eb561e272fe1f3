from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.helpers.documents import THREE_PAGES

from vigie_client import Credentials, TokenStore, spool_stats
from vigie_client.cli import main, report_files

REPORT = "/api/v1/usage/report"
ENROLL = "/api/v1/agents/enroll"
Command = Callable[..., int]
REPORTING = ("--app-name", "gui", "--app-version", "6.0.3")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def command(portal: Any, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs one command in a folder with the file `a.png` and returns its exit status."""
    monkeypatch.delenv("VIGIE_TOKEN", raising=False)
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        common = ["--server", portal.url, "--state-dir", str(state), "--timeout", "20"]
        return main([arguments[0], *common, *arguments[1:]])

    return run


@pytest.fixture
def enrolled(state: Path) -> None:
    TokenStore(state).save(Credentials("pc", "vigie_agent_mine"))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def enrolment(answer: Any) -> Any:
    return answer(201, {"status": "enrolled", "machine_id": "pc", "api_token": "vigie_agent_secret"})


def test_enroll_reads_the_token_from_a_file(
    portal: Any, answer: Any, command: Command, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(ENROLL, enrolment(answer))
    (tmp_path / "token").write_text("vigie_enroll_file\n")
    assert command("enroll", "--token-file", str(tmp_path / "token"), "--machine-id", "pc") == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_enroll_file"
    assert printed(capsys) == {"status": "enrolled", "machine_id": "pc", "quarantined": 0}
    assert TokenStore(state).load() == Credentials("pc", "vigie_agent_secret")


@pytest.mark.parametrize("raw", [b"vigie_t\n", b"\xef\xbb\xbfvigie_t\r\n", "\ufeffvigie_t\r\n".encode("utf-16-le")])
def test_enroll_reads_a_token_file_written_by_powershell(
    portal: Any, answer: Any, command: Command, tmp_path: Path, raw: bytes
) -> None:
    portal.answer_with(ENROLL, enrolment(answer))
    (tmp_path / "token").write_bytes(raw)
    assert command("enroll", "--token-file", str(tmp_path / "token")) == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_t"


def test_enroll_reads_the_token_from_the_environment(
    portal: Any, answer: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.answer_with(ENROLL, enrolment(answer))
    monkeypatch.setenv("VIGIE_TOKEN", "vigie_enroll_env")
    assert command("enroll") == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_enroll_env"


def test_enroll_reads_the_token_from_standard_input(
    portal: Any, answer: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.answer_with(ENROLL, enrolment(answer))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"vigie_enroll_stdin\n")))
    assert command("enroll", "--token-file", "-") == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_enroll_stdin"


def test_token_on_the_command_line_is_refused(command: Command) -> None:
    with pytest.raises(SystemExit) as caught:
        command("enroll", "--token", "vigie_enroll_x")
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("report",), ("report", "a.pdf"), ("heartbeat", "--what")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_enroll_without_a_token_exits_with_2(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("enroll") == 2
    assert "VIGIE_TOKEN" in capsys.readouterr().err


def test_enrolled_machine_renews_its_token_without_an_enrolment_token(
    portal: Any, answer: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(ENROLL, answer(201, {"status": "replayed", "machine_id": "pc", "api_token": "vigie_agent_new"}))
    assert command("enroll") == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_agent_mine"
    assert printed(capsys) == {"status": "replayed", "machine_id": "pc", "quarantined": 0}


def test_refused_enrolment_prints_the_detail_of_the_portal(
    portal: Any, answer: Any, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIGIE_TOKEN", "vigie_enroll_x")
    portal.answer_with(ENROLL, answer(409, {"code": "agent_already_active", "detail": "Uninstall it first."}))
    assert command("enroll") == 1
    error = capsys.readouterr().err
    assert "agent_already_active" in error
    assert "Uninstall it first." in error


def test_command_without_a_server_exits_with_2(state: Path, enrolled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIGIE_URL", raising=False)
    assert main(["heartbeat", "--state-dir", str(state)]) == 2


def test_no_command_prints_a_token(
    portal: Any, answer: Any, command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIGIE_TOKEN", "vigie_enroll_secret")
    portal.answer_with(ENROLL, answer(409, {"code": "agent_already_active"}), enrolment(answer))
    assert [command("enroll"), command("enroll")] == [1, 0]
    output = capfd.readouterr()
    assert "secret" not in output.out + output.err
    assert "agent_already_active" in output.err


def test_report_sends_page_counts_without_file_names(
    portal: Any, command: Command, enrolled: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("secret.png", "secret.docx", "secret.pdf", "secret-broken.pdf")]
    for file in files:
        Path(file).write_bytes(THREE_PAGES if file.endswith("secret.pdf") else b"not a pdf")
    assert command("report", *REPORTING, "--license-ref", "LIC-1", *files) == 0
    (path, headers, body) = portal.requests[0]
    assert (path, headers["Authorization"]) == (REPORT, "Bearer vigie_agent_mine")
    assert "secret" not in json.dumps(body)
    assert [(row["extension"], row["status"], row["page_count"]) for row in body["documents"]] == [
        (".png", "success", 1), (".docx", "success", None), (".pdf", "success", 3), (".pdf", "success", None),
    ]  # fmt: skip
    assert (body["machine_id"], body["license_ref"], body["total_pages"]) == ("pc", "LIC-1", 4)
    assert body["started_at"].endswith("Z")
    result = printed(capsys)
    assert (result["run_id"], result["delivered"], result["pending"]) == (body["run_id"], 1, 0)


def test_report_without_pymupdf_logs_it_and_fails_no_document(
    portal: Any, command: Command, enrolled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("vigie_client.report.pdf_pages._logged_missing", set())
    monkeypatch.setitem(sys.modules, "pymupdf", None)
    monkeypatch.setitem(sys.modules, "fitz", None)
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(THREE_PAGES)
    assert command("report", *REPORTING, str(tmp_path / "a.pdf"), str(tmp_path / "b.pdf")) == 0
    body = portal.requests[0][2]
    assert (body["failed_count"], body["succeeded_count"], body["total_pages"]) == (0, 2, 0)
    assert [record.getMessage() for record in caplog.records].count(
        "the pages of PDF files aren't counted: PyMuPDF isn't installed"
    ) == 1


@pytest.mark.parametrize(
    ("name", "reason"), [("absent.pdf", "file not found"), ("*.pdf", "file not found"), (".", "is a folder")]
)
def test_report_of_a_missing_file_or_a_folder_exits_with_2(
    portal: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str], name: str, reason: str,
) -> None:  # fmt: skip
    assert command("report", *REPORTING, "a.png", name) == 2
    assert reason in capsys.readouterr().err
    assert portal.requests == []


@pytest.mark.parametrize(("windows", "expected"), [(True, ["a.pdf", "b.pdf"]), (False, None)])
def test_patterns_are_expanded_on_windows_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool, expected: Any
) -> None:
    monkeypatch.setattr(report_files, "_WINDOWS", windows)
    for name in ("b.pdf", "a.pdf", "c.png", "[1].pdf"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.pdf").mkdir()
    if expected is None:
        with pytest.raises(ValueError, match="file not found"):
            report_files.find_files([str(tmp_path / "?.pdf")])
    else:
        assert report_files.find_files([str(tmp_path / "?.pdf")]) == [str(tmp_path / name) for name in expected]
        assert report_files.find_files([str(tmp_path / "[1].pdf")]) == [str(tmp_path / "[1].pdf")]
        with pytest.raises(ValueError, match="file not found"):
            report_files.find_files([str(tmp_path / "fold*.pdf")])


def test_report_with_an_invalid_name_exits_with_2(
    portal: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("report", "--app-name", "Éditeur", "--app-version", "6", "a.png") == 2
    assert "app_name: 1 to 128 of" in capsys.readouterr().err
    assert portal.requests == []


def test_report_keeps_the_run_if_the_portal_is_unavailable(
    portal: Any, answer: Any, command: Command, enrolled: None, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with(REPORT, answer(503, {}), None)
    assert command("report", *REPORTING, "a.png") == 1
    assert printed(capsys)["pending"] == 1
    assert command("flush", "--force") == 0
    assert printed(capsys) == {"delivered": 1, "pending": 0, "dropped": 0, "quarantined": 0}


def test_report_sends_the_run_directly_if_the_disk_fails(
    portal: Any, answer: Any, command: Command, enrolled: None, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "spool.jsonl").mkdir()
    (state / "a.png").touch()
    assert command("report", *REPORTING, str(state / "a.png")) == 0
    result = printed(capsys)
    assert (result["delivered"], result["pending"], list(portal.runs)) == (1, None, [result["run_id"]])
    portal.answer_with(REPORT, answer(503, {}))
    assert command("report", *REPORTING, str(state / "a.png")) == 1


def test_report_keeps_the_run_before_the_enrolment(portal: Any, command: Command, state: Path) -> None:
    assert command("report", *REPORTING, "a.png") == 1
    assert spool_stats(state / "spool.jsonl").pending == 1
    assert portal.requests == []


def test_report_of_a_refused_run_exits_with_1(portal: Any, answer: Any, command: Command, enrolled: None) -> None:
    portal.answer_with(REPORT, answer(409, {"code": "run_conflict"}))
    assert command("report", *REPORTING, "a.png") == 1


def test_flush_of_an_empty_spool_succeeds(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("flush") == 0
    assert printed(capsys)["pending"] == 0


def test_report_uses_the_token_of_an_application(portal: Any, command: Command, enrolled: None, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("vigie_client_app")
    assert command("report", *REPORTING, "--token-file", str(tmp_path / "token"), "a.png") == 0
    assert portal.requests[0][1]["Authorization"] == "Bearer vigie_client_app"


def test_report_with_a_machine_id_and_a_token_file_does_not_read_the_token_store(
    portal: Any, command: Command, state: Path, tmp_path: Path
) -> None:
    (state / "token.json").mkdir(parents=True)
    with pytest.raises(OSError):
        TokenStore(state).load()
    (tmp_path / "token").write_text("vigie_client_app")
    own = ("--machine-id", "pc-9", "--token-file", str(tmp_path / "token"))
    assert command("report", *REPORTING, *own, "a.png") == 0
    assert portal.requests[0][2]["machine_id"] == "pc-9"


def test_heartbeat_prints_the_next_interval(
    portal: Any, answer: Any, command: Command, enrolled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with("/api/v1/agents/heartbeat", answer(200, {"next_heartbeat_seconds": 312}))
    assert command("heartbeat", "--app-version", "1.4") == 0
    assert printed(capsys) == {"next_heartbeat_seconds": 312.0, "quarantined": 0}
    assert portal.requests[0][2]["version"] == "1.4"


def test_heartbeat_watch_runs_until_it_is_interrupted(
    portal: Any, command: Command, enrolled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = []

    def beat(_: Any) -> float:
        beats.append(1)
        if len(beats) == 3:
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr("vigie_client.machine.heartbeat.HeartbeatThread.beat", beat)
    assert command("heartbeat", "--watch") == 0
    assert len(beats) == 3


def test_heartbeat_without_enrolment_exits_with_1(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("heartbeat") == 1
    assert "isn't enrolled" in capsys.readouterr().err


def test_rotate_and_uninstall_print_their_status(
    portal: Any, answer: Any, command: Command, enrolled: None, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.answer_with("/api/v1/agents/token/rotate", answer(200, {"api_token": "vigie_agent_new"}))
    portal.answer_with("/api/v1/agents/uninstall", answer(200, {"status": "uninstalled"}))
    assert command("rotate") == 0
    assert "vigie_agent_new" not in capsys.readouterr().out
    assert TokenStore(state).load() == Credentials("pc", "vigie_agent_new")
    assert command("uninstall", "--reason", "replaced") == 0
    assert TokenStore(state).load() is None
