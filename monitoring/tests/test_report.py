"""Reports for a console: their columns, what they are read from, and where they are kept."""

import os
import stat
from collections import Counter
from unicodedata import category

import pytest
from django.utils import timezone, translation

from monitoring.alerts.incidents import IncidentOpening, note_cause, open_incidents, resolve_incidents
from monitoring.figures.uptime import Figures
from monitoring.models import CheckResult, Round
from monitoring.terminal import report
from monitoring.terminal.report import Line, Log, Seen, of_period, save, table
from monitoring.terminal.text_table import WIDTH, padded, printable, width_of, wrapped
from monitoring.tests.conftest import NOON
from monitoring.tests.rolled import DAY, HOUR, MINUTE, a_target, around, check, rollup
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
def test_text_is_as_wide_as_its_column(text, width, shown):
    assert padded(text, width) == shown
    assert width_of(shown) == width


def test_what_a_terminal_would_obey_is_not_printed():
    assert printable("\x1b[31mShop\x07\r\n\u202egnp") == "[31mShop gnp"


def test_text_is_broken_between_words():
    assert wrapped("one two three  four " + "x" * 20, 9) == ["one two", "three", "four", "xxxxxxxx…"]
    assert wrapped("", 9) == []


NAMES = ["x" * 100, "日本語の名前" * 9, "<b>{{ name }}</b> %s %(x)d", "a\nb\x1b[2J", " "]


def test_no_name_breaks_a_table(settings):
    lines = [Line(name, Figures(10**7, 10**6, 3, 0, 1e9, {"150": 10**7}), "not checked yet") for name in NAMES]
    for language in ("en", "fr"):
        with translation.override(language):
            text = table(lines)
        assert max(map(width_of, text)) <= WIDTH < 100
        assert not [line for line in text for character in line if category(character).startswith("C")]
    assert [line for line in text if line.startswith("<b>{{ name }}")]


def test_columns_of_figures_stand_below_each_other():
    header, _rule, *rows, _total = table(
        [Line("a", Figures(5, 0, 0, 0, 50.0, {"80": 5}), "up"), Line("bbb", Figures(50_000, 50_000), "down")]
    )
    end = header.index("checks") + len("checks")
    assert [line[:end].split()[-1] for line in rows] == ["5", "50000"]


def test_retries_of_a_watch_are_told_and_counted_as_errors():
    seen = Seen(a_target("API"))
    for _ in range(3):
        seen.add(CheckResult(target=seen.target, at=NOON, latency_ms=100.0, retried=1, retried_kind="status"))
    header, _rule, row, remarks = table([seen.line()])
    assert header.split()[3:5] == ["uptime", "errors"]
    assert row.split()[4:9] == ["3", "100", "%", "50.00", "%"]
    assert remarks == "    3 retried"


def test_without_a_target_there_is_a_sentence():
    assert table([]) == ["There are no targets."]


def test_below_a_row_stands_why_it_failed_and_what_did_not_count():
    line = Line("API", Figures(10, 5, 2, 7), kinds=Counter(timeout=1, connect=4))
    assert table([line])[-1] == "    Connection failed 4, Timeout 1, 7 retried, 2 not counted"


def test_of_several_targets_there_is_a_total():
    one = Line("A", Figures(10, 0, 0, 0, 1_000.0, {"118": 10}), "up", Counter(), 100.0, 100.0)
    other = Line("B", Figures(10, 10), "down", Counter(status=10))
    *_rest, total, reasons = table([one, other])
    assert total.split() == ["All", "targets", "20", "50.00", "%", "50.00", "%", "100", "100", "100", "100"]
    assert reasons == "    Status not expected 10"
    assert len(table([one])) == 3


def test_no_percentile_lies_outside_of_what_was_measured():
    exact = Line("A", Figures(1, 0, 0, 0, 101.3, {"118": 1}), "up", Counter(), 101.3, 101.3)
    assert exact.cells()[-4:] == ("101", "101", "101", "101")


# --- Of a watch ------------------------------------------------------------------------------------------------------


def a_round(number, failures=0, p95_ms=100.0):
    at = NOON + number * MINUTE
    return Round(number=number, started_at=at, finished_at=at + MINUTE, checks=2, failures=failures, p95_ms=p95_ms)


def test_a_watch_is_reported_by_target():
    api, shop = a_target("API"), a_target("Shop", state="down")
    log = Log()
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
        f"{around(200):.0f}",
        "300",
        "300",
    ]
    assert row(lines, "Shop")[:4] == ["down", "3", "0", "%"]
    assert "    Timeout 3" in lines


def test_a_watch_in_which_nothing_was_checked_says_so():
    log = Log()
    log.add(None, [])
    assert log.lines() == ["Nothing was checked."]
    assert not log.has_held()


def test_a_round_that_could_not_be_written_down_is_reported_and_has_not_held():
    api, log = a_target("API"), Log()
    log.add(None, [CheckResult(target=api, at=NOON + n * MINUTE, latency_ms=100.0) for n in (1, 0)], is_lost=True)
    lines = log.lines()
    assert lines[0] == "1 round, from 2026-03-10 12:00:00 UTC to 2026-03-10 12:01:00 UTC"
    assert row(lines, "API")[3] == "2"
    assert not log.has_held()


def test_where_no_result_could_be_written_down_it_says_so():
    log = Log()
    log.add(a_round(1), [])
    log.add(None, [], is_lost=True)
    assert not log.has_held()
    log = Log()
    log.add(None, [], is_lost=True)
    assert log.lines() == ["The round could not be written down."]


def test_what_counts_for_nothing_is_counted_apart():
    log = Log()
    log.add(a_round(1), [CheckResult(target=a_target("API"), at=NOON, error_kind="timeout", excuse="offline")])
    assert log.lines()[-1] == "    1 not counted"


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
def test_the_last_two_rounds_decide_whether_it_held(rounds, has_held):
    log = Log()
    for number, (failures, p95_ms) in enumerate(rounds):
        log.add(a_round(number, failures, p95_ms), [])
    assert log.has_held() is has_held


# --- Of a period -----------------------------------------------------------------------------------------------------


def test_a_period_is_read_from_rollups():
    api = a_target("API", state="up")
    rollup(api, "hour", NOON - 2 * HOUR, checks=100, failures=1, latency_ms=200.0)
    rollup(api, "hour", NOON - 30 * HOUR, checks=50, failures=50)
    p50 = f"{around(200):.0f}"
    assert row(of_period(NOON, 24), "API") == ["up", "100", "99.00", "%", "1.00", "%", "200", p50, p50, p50]


@pytest.mark.parametrize(("hours", "period"), [(1, "minute"), (6, "minute"), (7, "hour"), (168, "hour"), (169, "day")])
def test_short_periods_are_read_from_short_rollups(hours, period):
    api = a_target("API", state="up")
    for name, start, checks in (("minute", NOON, 1), ("hour", NOON, 2), ("day", NOON.replace(hour=0), 3)):
        rollup(api, name, start, checks=checks)
    assert row(of_period(NOON, hours), "API")[1] == {"minute": "1", "hour": "2", "day": "3"}[period]


def test_it_says_from_when_to_when():
    assert of_period(NOON + MINUTE, 24)[0] == "Monitoring, from 2026-03-09 12:00:00 UTC to 2026-03-10 12:01:00 UTC"


def test_errors_are_named_by_kind_as_far_back_as_the_period_reaches():
    api, shop = a_target("API"), a_target("Shop")
    for ago, kind, excuse in (
        (1, "timeout", ""),
        (2, "timeout", ""),
        (3, "status", ""),
        (4, "tls", "maintenance"),
        (50, "dns", ""),
    ):
        check(api, NOON - ago * HOUR, error_kind=kind, excuse=excuse)
    check(shop, NOON - HOUR)
    assert [line for line in of_period(NOON, 24) if line.startswith(" ")] == [
        "    Timeout 2, Status not expected 1",
        "    Timeout 2, Status not expected 1",
    ]


@pytest.mark.parametrize(("hours", "reasons"), [(168, "Timeout 1"), (169, "Timeout 1 of the last 7 days")])
def test_of_why_checks_failed_it_says_how_far_back_it_is_known(hours, reasons, settings):
    settings.CHECK_RETENTION_DAYS = 7
    api = a_target("API")
    check(api, NOON - HOUR, error_kind="timeout")
    check(api, NOON - 7 * DAY - MINUTE, error_kind="dns")
    rollup(api, "hour", NOON - HOUR, checks=9, excused=2)
    rollup(api, "day", NOON.replace(hour=0), checks=9, excused=2)
    assert [line for line in of_period(NOON, hours) if line.startswith(" ")] == [f"    {reasons}, 2 not counted"]


def test_a_target_that_is_paused_is_called_so():
    a_target("API", is_active=False)
    assert row(of_period(NOON, 24), "API")[0] == "paused"


def test_what_the_workers_have_not_counted_yet_is_counted():
    api, now = a_target("API", state="up"), timezone.now()
    check(api, now - 2 * MINUTE, latency_ms=150.0)
    report.catch_up(now)
    assert row(of_period(now, 24), "API")[:4] == ["up", "1", "100", "%"]


def test_while_the_workers_count_it_does_not(monkeypatch):
    def busy(*period):
        raise AlreadyRunning

    monkeypatch.setattr(report.rollups, "rebuild", busy)
    report.catch_up(NOON)


# --- Incidents of a period -------------------------------------------------------------------------------------------


def test_without_an_incident_it_says_so(checks):
    assert of_period(NOON, 24)[-1] == "No incident."


def test_incidents_stand_with_their_duration_and_cause(checks):
    [incident] = open_incidents(
        [IncidentOpening("target:1", "unavailable", checks.target, "status", "503")], checks.now
    )
    note_cause(incident, "A disk was full.\nIt was emptied.", "alice", NOON)
    resolve_incidents([incident], checks.pass_by(minutes=4, seconds=12))
    assert of_period(NOON + HOUR, 24)[-4:] == [
        "Incidents",
        "2026-03-10 12:00:00 UTC, 4 min 12 s: API is down",
        "    It answered 503.",
        "    Cause: A disk was full. It was emptied.",
    ]


def test_what_is_still_open_is_there_however_long_ago_it_opened(checks):
    open_incidents([IncidentOpening("fleet", "fleet_errors", facts={"failures": 1, "checks": 9})], checks.now)
    assert "2026-03-10 12:00:00 UTC, open for 5 d: All targets: too many checks fail" in of_period(NOON + 5 * DAY, 1)


def test_what_was_over_before_is_left_out(checks):
    opened = open_incidents([IncidentOpening("fleet", "fleet_errors")], checks.now)
    resolve_incidents(opened, checks.pass_by(minutes=1))
    assert of_period(NOON + DAY, 23)[-1] == "No incident."
    assert of_period(NOON + DAY, 24)[-1] != "No incident."


def test_of_very_many_the_latest_are_shown(checks, monkeypatch):
    monkeypatch.setattr(report, "MOST_INCIDENTS", 2)
    for number in range(3):
        open_incidents([IncidentOpening(f"fleet:{number}", "fleet_errors")], checks.pass_by(minutes=1))
    lines = of_period(NOON + HOUR, 24)
    assert [line.split(": ")[1] for line in lines if "too many" in line] == ["2", "1"]
    assert lines[-1] == "and more before"


# --- Keeping it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path
    return tmp_path


def test_a_report_is_kept_under_its_moment_for_its_owner_alone(folder):
    path = save(["one", "deux é"], NOON)
    assert path == folder / "beta_report_20260310_120000.txt"
    assert path.read_text(encoding="utf-8") == "one\ndeux é\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_name_tells_the_time_its_content_tells(folder):
    with timezone.override("Asia/Tokyo"):
        assert save(of_period(NOON, 24), NOON).name == "beta_report_20260310_210000.txt"
        assert "2026-03-10 21:00:00" in of_period(NOON, 24)[0]


def test_a_report_is_there_as_a_whole_or_not_at_all(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(["one"], NOON)
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_missing_is_a_disk_that_is_missing(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path / "mounted"
    with pytest.raises(FileNotFoundError):
        save(["one"], NOON)
