"""`manage.py beta_report`: its formats, where it writes them, and its exit status."""

import io
import json
import os
import pty
import re
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from openpyxl import load_workbook

from beta.models import BetaSnapshot
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from monitoring.models import CheckResult

pytestmark = pytest.mark.one_database("what a command prints", despite=("OperationalError",))


def run(*arguments):
    """The command in this process; its exit status."""
    try:
        call_command("beta_report", *arguments)
    except SystemExit as left:
        return left.code
    return 0


def refused(*arguments):
    with pytest.raises(CommandError) as found:
        call_command("beta_report", *arguments)
    return str(found.value), found.value.returncode


@pytest.fixture
def programme(db):
    programme = create_programme()
    create_scores(programme, 9, 8, 7, 7, 7)
    return programme


# --- What it prints --------------------------------------------------------------------------------------------------


def test_report_is_printed_as_text_on_stdout_alone(programme, capsys):
    assert run() == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Beta programme spring-beta\n")
    assert printed.out.endswith("No usability comments.\n")
    assert printed.err == ""


@pytest.mark.parametrize(
    ("form", "start"), [("csv", b"\xef\xbb\xbfsection"), ("xlsx", b"PK"), ("pdf", b"%PDF-"), ("json", b"{")]
)
def test_every_format_is_printed_as_it_is(programme, capfdbinary, form, start):
    assert run("--format", form) == 0
    assert capfdbinary.readouterr().out.startswith(start)


def test_workbook_on_stdout_is_complete(programme, capfdbinary):
    run("--format", "xlsx")
    assert load_workbook(io.BytesIO(capfdbinary.readouterr().out)).worksheets[0]["A1"].value == "spring-beta"


def test_text_stream_takes_json(programme):
    stream = io.StringIO()
    call_command("beta_report", format="json", stdout=stream)
    assert json.loads(stream.getvalue())["verdict"] == "GO"


def test_report_is_in_the_portals_language(programme, settings, capsys):
    settings.LANGUAGE_CODE = "fr"
    run()
    assert "7,60" in capsys.readouterr().out


def test_checks_without_rollup_are_counted(programme, capsys):
    now = timezone.now()
    for _ in range(3):
        CheckResult.objects.create(target=create_target(beta_programme=programme), at=now, latency_ms=100.0)
    run("--format", "json")
    assert json.loads(capsys.readouterr().out)["performance"]["checks"] == 3


def test_beta_monitor_prints_running_programmes_first_and_keeps_their_reports(db, settings, tmp_path, capsys):
    settings.REPORTS_ROOT = tmp_path
    spring = create_programme("spring-beta")
    for _ in range(2):
        CheckResult.objects.create(target=create_target(beta_programme=spring), at=timezone.now(), latency_ms=100.0)
    create_programme("autumn-beta")
    create_programme("over", ends="2026-03-03")
    call_command("beta_monitor", "--report")
    printed = capsys.readouterr().out
    headings = [line.partition(",")[0] for line in printed.splitlines() if re.match("Beta programme|Monitoring", line)]
    assert headings == ["Beta programme autumn-beta", "Beta programme spring-beta", "Monitoring"]
    assert re.search(r"^Checks +2$", printed, re.MULTILINE), "checks that were not rolled up yet are missing"
    [path] = tmp_path.iterdir()
    assert path.read_text() == printed
    kept = BetaSnapshot.objects.order_by("programme__name").values_list("programme__name", "reason")
    assert list(kept) == [("autumn-beta", "command"), ("spring-beta", "command")]


# --- Which programme -------------------------------------------------------------------------------------------------


def test_named_programme_may_be_over(programme, capsys):
    create_programme("autumn-beta", ends="2026-03-03")
    assert run("--programme", "autumn-beta") == 0
    assert capsys.readouterr().out.startswith("Beta programme autumn-beta\n")


def test_unknown_programme_is_refused_with_the_names_of_running_ones(programme):
    create_programme("autumn-beta")
    create_programme("winter-beta", ends="2026-03-03")
    text, status = refused("--programme", "other")
    assert (text, status) == ("No programme with this name. Running today: autumn-beta, spring-beta.", 2)
    assert refused("--programme", "\udcff")[1] == 2


def test_several_or_no_running_programmes_need_a_name(db):
    assert refused() == ("Choose a programme with --programme. Running today: none.", 2)
    create_programme("one"), create_programme("two\x1b[2J")
    assert refused() == ("Choose a programme with --programme. Running today: one, two [2J.", 2)


# --- What it keeps ---------------------------------------------------------------------------------------------------


def test_printed_report_is_stored_as_snapshot(programme, capsys):
    run("--format", "json")
    kept = BetaSnapshot.objects.get()
    assert (kept.reason, kept.verdict, kept.programme) == ("command", "GO", programme)
    assert kept.data == json.loads(capsys.readouterr().out)


def test_same_report_in_two_formats_is_stored_once(programme, capfdbinary):
    run("--format", "csv"), run("--format", "pdf")
    assert BetaSnapshot.objects.count() == 1


# --- Its exit status -------------------------------------------------------------------------------------------------


def test_exit_status_is_0_whatever_the_verdict(db, capsys):
    create_programme()
    assert run() == 0
    assert "Verdict: Not enough data" in capsys.readouterr().out


def test_check_option_fails_unless_the_verdict_is_go(programme, capsys):
    assert run("--check") == 0
    create_target(beta_programme=programme)
    assert run("--check") == 1
    assert "Verdict: Not enough data" in capsys.readouterr().out
    create_feedback(programme, type="bug", severity="critical")
    assert run("--check", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "NO-GO"


def test_database_failure_is_reported_in_one_sentence(programme, monkeypatch):
    def gone(*arguments):
        raise OperationalError("the server\nis gone")

    monkeypatch.setattr("beta.management.commands.beta_report.take_snapshot", gone)
    assert refused() == ("The database does not answer: OperationalError: the server is gone", 2)


def test_unknown_format_is_refused(programme):
    with pytest.raises(CommandError, match="xml"):
        call_command("beta_report", "--format", "xml")


# --- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "txt", "csv", "xlsx", "pdf"])
def test_output_file_is_named_on_stderr(programme, tmp_path, capsys, form):
    path = tmp_path / f"report.{form}"
    path.write_text("the one before")
    assert run("--format", form, "--output", str(path)) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"Saved as {path}\n")
    assert not path.read_bytes().startswith(b"the one before")
    assert list(tmp_path.iterdir()) == [path]


def test_output_file_has_the_printed_content(programme, tmp_path, capfdbinary):
    run("--format", "csv", "--output", str(tmp_path / "report.csv"))
    run("--format", "csv")
    assert (tmp_path / "report.csv").read_bytes() == capfdbinary.readouterr().out


def test_missing_folder_is_reported_and_not_created(programme, tmp_path):
    path = tmp_path / "missing" / "report.txt"
    assert refused("--output", str(path)) == (f"The report was not saved as {path}: No such file or directory.", 1)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_former_file(programme, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path = tmp_path / "report.txt"
    path.write_text("the one before")
    monkeypatch.setattr("portal.base.files.os.fsync", full)
    assert refused("--output", str(path)) == (f"The report was not saved as {path}: No space left on device.", 1)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("report.txt", "the one before")]


def test_other_than_a_file_is_not_replaced(programme, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refused("--output", str(pipe)) == (f"{pipe} is not a file.", 1)
    assert refused("--output", str(tmp_path)) == (f"{tmp_path} is not a file.", 1)
    assert pipe.is_fifo()


# --- Where it prints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["xlsx", "pdf"])
def test_binary_format_on_a_terminal_is_refused(programme, monkeypatch, form):
    screen, terminal = pty.openpty()
    with open(terminal, "w") as console:
        monkeypatch.setattr(sys, "stdout", console)
        text = f"A terminal can’t show {form}. Use --output or a pipe."
        assert refused("--format", form) == (text, 2)
    os.close(screen)
    assert not BetaSnapshot.objects.exists()


def test_closed_pipe_ends_the_command_quietly(programme, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run("--format", "json") == 1
    assert capsys.readouterr().err == ""
