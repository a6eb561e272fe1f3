"""Reports for a console: their columns, what they are read from, and where they are kept."""

import os
import stat
from collections import Counter
from unicodedata import category

import pytest
from django.utils import timezone, translation

from monitoring.alerts.incidents import IncidentOpening, note_cause, open_incidents, resolve_incidents
from monitoring.figures.uptime import UptimeFigures
from monitoring.models import CheckResult, Round
from monitoring.terminal import report
from monitoring.terminal.report import TargetLine, WatchedTarget, WatchLog, period_report, save_report, target_table
from monitoring.terminal.text_table import WIDTH, clean_text, display_width, pad_to_width, wrap_text
from monitoring.tests.conftest import NOON
from monitoring.tests.factories import DAY, HOUR, MINUTE, bucket_value, create_check, create_rollup, create_target
from portal.work.jobs import AlreadyRunning

pytestmark = pytest.mark.django_db


def row(lines, name):
    """The cells of the target's row after its name."""
    [found] = [line for line in lines if line.startswith(name)]
    return found.removeprefix(name).split()


# --- Columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("API", 5, "API  "),
        ("the shop", 5, "the …"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日… "),
        ("e\u0301te\u0301", 4, "e\u0301te\u0301 "),
    ],
)
def test_text_is_padded_to_its_column(text, width, shown):
    assert pad_to_width(text, width) == shown
    assert display_width(shown) == width


def test_control_characters_are_not_printed():
    assert clean_text("\x1b[31mShop\x07\r\n\u202egnp") == "[31mShop gnp"


def test_text_is_wrapped_between_words():
    assert wrap_text("one two three  four " + "x" * 20, 9) == ["one two", "three", "four", "xxxxxxxx…"]
    assert wrap_text("", 9) == []


NAMES = ["x" * 100, "日本語の名前" * 9, "<b>{{ name }}</b> %s %(x)d", "a\nb\x1b[2J", " "]


def test_any_name_fits_the_table(settings):
    lines = [
        TargetLine(name, UptimeFigures(10**7, 10**6, 3, 0, 1e9, {"150": 10**7}), "not checked yet") for name in NAMES
    ]
    for language in ("en", "fr"):
        with translation.override(language):
            text = target_table(lines)
        assert max(map(display_width, text)) <= WIDTH < 100
        assert not [line for line in text for character in line if category(character).startswith("C")]
    assert [line for line in text if line.startswith("<b>{{ name }}")]


def test_columns_of_figures_are_right_aligned():
    header, _rule, *rows, _total = target_table(
        [
            TargetLine("a", UptimeFigures(5, 0, 0, 0, 50.0, {"80": 5}), "up"),
            TargetLine("bbb", UptimeFigures(50_000, 50_000), "down"),
        ]
    )
    end = header.index("checks") + len("checks")
    assert [line[:end].split()[-1] for line in rows] == ["5", "50000"]


def test_retries_of_a_watch_count_as_errors():
    seen = WatchedTarget(create_target("API"))
    for _ in range(3):
        seen.add(CheckResult(target=seen.target, at=NOON, latency_ms=100.0, retried=1, retried_kind="status"))
    header, _rule, row, remarks = target_table([seen.line()])
    assert header.split()[3:5] == ["uptime", "errors"]
    assert row.split()[4:9] == ["3", "100", "%", "50.00", "%"]
    assert remarks == "    3 retried"


def test_table_without_targets_is_a_sentence():
    assert target_table([]) == ["No targets."]


def test_remarks_list_errors_retries_and_excluded_failures():
    line = TargetLine("API", UptimeFigures(10, 5, 2, 7), kinds=Counter(timeout=1, connect=4))
    assert target_table([line])[-1] == "    Connection failed 4, Timeout 1, 7 retried, 2 excluded"


def test_several_targets_have_a_total():
    one = TargetLine("A", UptimeFigures(10, 0, 0, 0, 1_000.0, {"118": 10}), "up", Counter(), 100.0, 100.0)
    other = TargetLine("B", UptimeFigures(10, 10), "down", Counter(status=10))
    *_rest, total, reasons = target_table([one, other])
    assert total.split() == ["All", "targets", "20", "50.00", "%", "50.00", "%", "100", "100", "100", "100"]
    assert reasons == "    Unexpected status code 10"
    assert len(target_table([one])) == 3


def test_percentiles_are_clamped_to_measured_latencies():
    exact = TargetLine("A", UptimeFigures(1, 0, 0, 0, 101.3, {"118": 1}), "up", Counter(), 101.3, 101.3)
    assert exact.cells()[-4:] == ("101", "101", "101", "101")


# --- Of a watch ------------------------------------------------------------------------------------------------------


def a_round(number, failures=0, p95_ms=100.0):
    at = NOON + number * MINUTE
    return Round(number=number, started_at=at, finished_at=at + MINUTE, checks=2, failures=failures, p95_ms=p95_ms)


def test_report_of_a_watch_has_a_row_per_target():
    api, shop = create_target("API"), create_target("Shop", state="down")
    log = WatchLog()
    for number in (1, 2, 3):
        results = [
            CheckResult(target=api, at=NOON, latency_ms=100.0 * number),
            CheckResult(target=shop, at=NOON, error_kind="timeout"),
        ]
        log.add(a_round(number), results)
    lines = log.lines()
    assert lines[0] == "3 rounds, from 2026-03-10 12:01:00 UTC to 2026-03-10 12:04:00 UTC"
    assert row(lines, "API") == [
        "not",
        "checked",
        "yet",
        "3",
        "100",
        "%",
        "0",
        "%",
        "200",
        f"{bucket_value(200):.0f}",
        "300",
        "300",
    ]
    assert row(lines, "Shop")[:4] == ["down", "3", "0", "%"]
    assert "    Timeout 3" in lines


def test_report_of_a_watch_without_checks_says_so():
    log = WatchLog()
    log.add(None, [])
    assert log.lines() == ["Nothing was checked."]
    assert not log.is_good()


def test_lost_round_is_reported_and_not_good():
    api, log = create_target("API"), WatchLog()
    log.add(None, [CheckResult(target=api, at=NOON + n * MINUTE, latency_ms=100.0) for n in (1, 0)], is_lost=True)
    lines = log.lines()
    assert lines[0] == "1 round, from 2026-03-10 12:00:00 UTC to 2026-03-10 12:01:00 UTC"
    assert row(lines, "API")[3] == "2"
    assert not log.is_good()


def test_watch_without_stored_results_says_so():
    log = WatchLog()
    log.add(a_round(1), [])
    log.add(None, [], is_lost=True)
    assert not log.is_good()
    log = WatchLog()
    log.add(None, [], is_lost=True)
    assert log.lines() == ["The round could not be saved."]


def test_excluded_failures_are_counted_apart():
    log = WatchLog()
    log.add(a_round(1), [CheckResult(target=create_target("API"), at=NOON, error_kind="timeout", excuse="offline")])
    assert log.lines()[-1] == "    1 excluded"


@pytest.mark.parametrize(
    ("rounds", "has_held"),
    [
        ([], False),
        ([(0, 100.0)], True),
        ([(1, 100.0)], False),
        ([(0, 1_000.0)], True),
        ([(0, 1_001.0)], False),
        ([(1, None), (0, None), (0, None)], True),
        ([(0, 100.0), (1, 100.0), (0, 100.0)], False),
    ],
)
def test_last_two_rounds_decide_whether_a_watch_is_good(rounds, has_held):
    log = WatchLog()
    for number, (failures, p95_ms) in enumerate(rounds):
        log.add(a_round(number, failures, p95_ms), [])
    assert log.is_good() is has_held


# --- Of a period -----------------------------------------------------------------------------------------------------


def test_period_is_read_from_rollups():
    api = create_target("API", state="up")
    create_rollup(api, "hour", NOON - 2 * HOUR, checks=100, failures=1, latency_ms=200.0)
    create_rollup(api, "hour", NOON - 30 * HOUR, checks=50, failures=50)
    p50 = f"{bucket_value(200):.0f}"
    assert row(period_report(NOON, 24), "API") == ["up", "100", "99.00", "%", "1.00", "%", "200", p50, p50, p50]


@pytest.mark.parametrize(("hours", "period"), [(1, "minute"), (6, "minute"), (7, "hour"), (168, "hour"), (169, "day")])
def test_short_periods_are_read_from_short_rollups(hours, period):
    api = create_target("API", state="up")
    for name, start, checks in (("minute", NOON, 1), ("hour", NOON, 2), ("day", NOON.replace(hour=0), 3)):
        create_rollup(api, name, start, checks=checks)
    assert row(period_report(NOON, hours), "API")[1] == {"minute": "1", "hour": "2", "day": "3"}[period]


def test_period_report_names_its_period():
    assert period_report(NOON + MINUTE, 24)[0] == "Monitoring, from 2026-03-09 12:00:00 UTC to 2026-03-10 12:01:00 UTC"


def test_errors_are_listed_by_kind_within_the_period():
    api, shop = create_target("API"), create_target("Shop")
    for ago, kind, excuse in (
        (1, "timeout", ""),
        (2, "timeout", ""),
        (3, "status", ""),
        (4, "tls", "maintenance"),
        (50, "dns", ""),
    ):
        create_check(api, NOON - ago * HOUR, error_kind=kind, excuse=excuse)
    create_check(shop, NOON - HOUR)
    assert [line for line in period_report(NOON, 24) if line.startswith(" ")] == [
        "    Timeout 2, Unexpected status code 1",
        "    Timeout 2, Unexpected status code 1",
    ]


@pytest.mark.parametrize(("hours", "reasons"), [(168, "Timeout 1"), (169, "Timeout 1 of the last 7 days")])
def test_remarks_say_how_far_back_error_kinds_are_known(hours, reasons, settings):
    settings.CHECK_RETENTION_DAYS = 7
    api = create_target("API")
    create_check(api, NOON - HOUR, error_kind="timeout")
    create_check(api, NOON - 7 * DAY - MINUTE, error_kind="dns")
    create_rollup(api, "hour", NOON - HOUR, checks=9, excused=2)
    create_rollup(api, "day", NOON.replace(hour=0), checks=9, excused=2)
    assert [line for line in period_report(NOON, hours) if line.startswith(" ")] == [f"    {reasons}, 2 excluded"]


def test_paused_target_is_shown_as_paused():
    create_target("API", is_active=False)
    assert row(period_report(NOON, 24), "API")[0] == "paused"


def test_report_rolls_up_first():
    api, now = create_target("API", state="up"), timezone.now()
    create_check(api, now - 2 * MINUTE, latency_ms=150.0)
    report.update_rollups(now)
    assert row(period_report(now, 24), "API")[:4] == ["up", "1", "100", "%"]


def test_report_does_not_roll_up_while_the_workers_do(monkeypatch):
    def busy(*period):
        raise AlreadyRunning

    monkeypatch.setattr(report.rollups, "rebuild_rollups", busy)
    report.update_rollups(NOON)


# --- Incidents of a period -------------------------------------------------------------------------------------------


def test_report_without_incidents_says_so(checks):
    assert period_report(NOON, 24)[-1] == "No incidents."


def test_incidents_are_listed_with_duration_and_cause(checks):
    [incident] = open_incidents(
        [IncidentOpening("target:1", "unavailable", checks.target, "status", "503")], checks.now
    )
    note_cause([incident], "A disk was full.\nIt was emptied.", "alice", NOON)
    resolve_incidents([incident], checks.pass_by(minutes=4, seconds=12))
    assert period_report(NOON + HOUR, 24)[-4:] == [
        "Incidents",
        "2026-03-10 12:00:00 UTC, 4 min 12 s: API is down",
        "    The response status was 503.",
        "    Root cause: A disk was full. It was emptied.",
    ]


def test_old_open_incident_is_listed(checks):
    open_incidents([IncidentOpening("fleet", "fleet_errors", facts={"failures": 1, "checks": 9})], checks.now)
    assert "2026-03-10 12:00:00 UTC, open for 5 days: All targets: high error rate" in period_report(NOON + 5 * DAY, 1)


def test_incident_resolved_before_the_period_is_left_out(checks):
    opened = open_incidents([IncidentOpening("fleet", "fleet_errors")], checks.now)
    resolve_incidents(opened, checks.pass_by(minutes=1))
    assert period_report(NOON + DAY, 23)[-1] == "No incidents."
    assert period_report(NOON + DAY, 24)[-1] != "No incidents."


def test_newest_hundred_incidents_are_listed(checks, monkeypatch):
    monkeypatch.setattr(report, "MOST_INCIDENTS", 2)
    for number in range(3):
        open_incidents([IncidentOpening(f"fleet:{number}", "fleet_errors")], checks.pass_by(minutes=1))
    lines = period_report(NOON + HOUR, 24)
    assert [line.split(": ")[1] for line in lines if "error rate" in line] == ["2", "1"]
    assert lines[-1] == "and more before"


# --- Keeping it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path
    return tmp_path


def test_report_file_is_named_by_its_time_and_private(folder):
    path = save_report(["one", "deux é"], NOON)
    assert path == folder / "beta_report_20260310_120000.txt"
    assert path.read_text(encoding="utf-8") == "one\ndeux é\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_report_file_name_is_in_local_time(folder):
    with timezone.override("Asia/Tokyo"):
        assert save_report(period_report(NOON, 24), NOON).name == "beta_report_20260310_210000.txt"
        assert "2026-03-10 21:00:00" in period_report(NOON, 24)[0]


def test_report_file_is_written_atomically(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_report(["one"], NOON)
    assert list(folder.iterdir()) == []


def test_missing_report_folder_raises_os_error(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path / "mounted"
    with pytest.raises(FileNotFoundError):
        save_report(["one"], NOON)
