"""The export of usage through the API."""

import csv
import json
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent
from portal.work.jobs import claim_cycle
from usage import exports, rollups
from usage.exports import RUN_COLUMNS, ExportQuery, export_rows
from usage.models import Run, RunRollup
from usage.tests.factories import create_rollup, create_run

pytestmark = pytest.mark.django_db
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
OF_MARCH = {"from": "2026-03-01", "to": "2026-04-01"}


@pytest.fixture
def export(call, staff_token):
    def exporting(token=staff_token, **query):
        answer = call("GET", "usage/export", token, **query)
        assert answer.status_code == 200, answer.content
        return answer

    return exporting


@pytest.fixture
def counted(db):
    """Return a function that rolls up all runs."""
    return lambda: rollups.catch_up(timezone.now(), [claim_cycle("usage.rollups", uuid.uuid4().hex)])


def a_run(at=NOON, pages=1, **fields):
    return create_run(**{"received_at": at, "started_at": at, "total_pages": pages} | fields)


def sent(answer):
    """Return the rows of a CSV without the header."""
    return list(csv.reader(answer.getvalue().decode().splitlines()))[1:]


class TestGroups:
    @pytest.fixture(autouse=True)
    def runs(self, counted):
        a_run(pages=1)
        a_run(pages=2, app_version="7", machine_id="PC-2")
        a_run(NOON + DAY, pages=4, license_ref="LIC-2", document_count=3, succeeded_count=2)
        a_run(MARCH - MINUTE, pages=100)
        a_run(APRIL, pages=100)
        counted()

    @pytest.mark.parametrize(
        ("group", "rows"),
        [
            ("license", [["LIC-1", "2", "2", "2", "0", "3"], ["LIC-2", "1", "3", "2", "0", "4"]]),
            ("version", [["6", "2", "4", "3", "0", "5"], ["7", "1", "1", "1", "0", "2"]]),
            ("app", [["gui", "3", "5", "4", "0", "7"]]),
            ("day", [["2026-03-10", "2", "2", "2", "0", "3"], ["2026-03-11", "1", "3", "2", "0", "4"]]),
            ("machine", [["PC-1", "2", "4", "3", "0", "5"], ["PC-2", "1", "1", "1", "0", "2"]]),
            (
                "day,license",
                [["2026-03-10", "LIC-1", "2", "2", "2", "0", "3"], ["2026-03-11", "LIC-2", "1", "3", "2", "0", "4"]],
            ),
            (
                "version,machine,day",
                [
                    ["6", "PC-1", "2026-03-10", "1", "1", "1", "0", "1"],
                    ["6", "PC-1", "2026-03-11", "1", "3", "2", "0", "4"],
                    ["7", "PC-2", "2026-03-10", "1", "1", "1", "0", "2"],
                ],
            ),
        ],
    )
    def test_each_combination_of_groups_is_a_row(self, export, group, rows):
        assert sent(export(group=group, **OF_MARCH)) == rows

    def test_columns_follow_the_order_of_groups(self, export):
        header = export(group="day,license,machine,version,app", **OF_MARCH).getvalue().decode().splitlines()[0]
        assert header == "day,license_ref,machine_id,app_version,app_name,runs,documents,succeeded,failed,pages"

    def test_json_has_the_same_rows_as_csv(self, export):
        answer = export(group="license,day", format="json", **OF_MARCH)
        assert json.loads(answer.getvalue()) == {
            "results": [
                {
                    "license_ref": "LIC-1",
                    "day": "2026-03-10",
                    "runs": 2,
                    "documents": 2,
                    "succeeded": 2,
                    "failed": 0,
                    "pages": 3,
                },
                {
                    "license_ref": "LIC-2",
                    "day": "2026-03-11",
                    "runs": 1,
                    "documents": 3,
                    "succeeded": 2,
                    "failed": 0,
                    "pages": 4,
                },
            ],
            "next": None,
        }

    def test_totals_come_from_rollups_except_by_machine(self, export):
        Run.objects.all().delete()
        assert len(sent(export(group="license,app,version,day", **OF_MARCH))) == 3
        assert sent(export(group="machine", **OF_MARCH)) == []


class TestPartialHours:
    """Partial hours are read from the runs, so that the totals agree."""

    MOMENTS = [
        NOON - HOUR,
        NOON - MINUTE,
        NOON,
        NOON + 20 * MINUTE,
        NOON + 40 * MINUTE,
        NOON + HOUR,
        NOON + 90 * MINUTE,
    ]

    @pytest.fixture(autouse=True)
    def runs(self, counted):
        for number, moment in enumerate(self.MOMENTS):
            a_run(moment, pages=2**number, license_ref=f"LIC-{number % 2}")
        a_run(pages=1_000, started_at=None, received_at=NOON + 10 * MINUTE)
        a_run(pages=10_000, started_at=NOON + 9 * DAY, received_at=NOON + 10 * MINUTE)  # by a clock that runs ahead
        counted()

    @pytest.mark.parametrize("since", [NOON - HOUR, NOON, NOON + MINUTE, NOON + 20 * MINUTE, NOON + 59 * MINUTE])
    @pytest.mark.parametrize(
        "until", [NOON + 10 * MINUTE, NOON + 11 * MINUTE, NOON + 45 * MINUTE, NOON + HOUR, NOON + 100 * MINUTE]
    )
    def test_partial_hours_include_only_their_runs(self, since, until):
        moments = {2**number: moment for number, moment in enumerate(self.MOMENTS)} | dict.fromkeys(
            (1_000, 10_000), NOON + 10 * MINUTE
        )
        expected = sum(pages for pages, moment in moments.items() if since <= moment < until)
        for group in ("license", "machine", "day"):
            rows = export_rows(ExportQuery(since, until, (group,)), timezone.now())
            assert sum(row[-1] for row in rows) == expected
        runs = export_rows(ExportQuery(since, until), timezone.now())
        assert sum(row[RUN_COLUMNS.index("total_pages")] for row in runs) == expected

    def test_row_with_runs_at_both_ends_appears_once(self):
        rows = list(export_rows(ExportQuery(NOON - MINUTE, NOON + 90 * MINUTE, ("app",)), timezone.now()))
        assert [row[0] for row in rows] == ["gui"]

    def test_full_hours_read_no_runs(self, django_assert_num_queries):
        with django_assert_num_queries(1) as queries:
            list(export_rows(ExportQuery(NOON, NOON + HOUR, ("license",)), timezone.now()))
        assert '"usage_run"' not in queries[0]["sql"]

    def test_current_hour_is_included(self, django_assert_num_queries):
        now = NOON + 95 * MINUTE
        with django_assert_num_queries(1):
            rows = list(export_rows(ExportQuery(NOON, now, ("app",)), now))
        assert rows == [("gui", 7, 7, 7, 0, 4 + 8 + 16 + 32 + 64 + 11_000)]


class TestDays:
    def test_days_are_in_the_portals_time_zone(self, export, counted, settings):
        settings.TIME_ZONE = "Europe/Paris"
        a_run(datetime(2026, 2, 28, 23, tzinfo=UTC), pages=1)
        a_run(datetime(2026, 3, 29, 21, 30, tzinfo=UTC), pages=2)  # the clocks were put forward on that day
        a_run(datetime(2026, 3, 31, 22, tzinfo=UTC), pages=100)
        counted()
        for groups in ("day", "day,machine"):
            rows = sent(export(group=groups, **OF_MARCH))
            assert [(row[0], row[-1]) for row in rows] == [("2026-03-01", "1"), ("2026-03-29", "2")]

    def test_midnight_within_an_hour_splits_the_day(self, export, counted, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        a_run(datetime(2026, 2, 28, 18, 29, tzinfo=UTC), pages=100)
        a_run(datetime(2026, 2, 28, 18, 31, tzinfo=UTC), pages=1)
        a_run(datetime(2026, 3, 10, 18, 29, tzinfo=UTC), pages=2)
        a_run(datetime(2026, 3, 10, 18, 31, tzinfo=UTC), pages=4)
        counted()
        rows = sent(export(group="day", **OF_MARCH))
        assert [(row[0], row[-1]) for row in rows] == [("2026-03-01", "1"), ("2026-03-10", "2"), ("2026-03-11", "4")]
        assert sent(export(group="license", **OF_MARCH))[0][-1] == "7"


class TestSingleRuns:
    def test_run_is_a_row_with_the_columns_of_the_admin(self, export):
        run = a_run(license_ref="LIC-7", over_quota=True, sent_at=None)
        answer = export(**OF_MARCH)
        header, row = csv.reader(answer.getvalue().decode().splitlines())
        assert header == list(RUN_COLUMNS)
        assert row == [
            run.run_id.hex, "LIC-7", "PC-1", "gui", "6", "1", "1", "0", "1", "0", "2026-03-10T12:00:00.000Z", "",
            "2026-03-10T12:00:00.000Z", "", "0", "true", "false", "client:gui",
        ]  # fmt: skip

    def test_json_values_are_typed(self, export):
        run = a_run(over_quota=True, sent_at=None)
        (row,) = json.loads(export(format="json", **OF_MARCH).getvalue())["results"]
        assert list(row) == list(RUN_COLUMNS)
        assert (row["run_id"], row["over_quota"], row["sent_at"]) == (run.run_id.hex, True, None)
        assert (row["total_pages"], row["received_at"]) == (1, "2026-03-10T12:00:00.000Z")

    def test_runs_are_sorted_oldest_first(self, export):
        for back in (3, 1, 2):
            a_run(NOON - back * HOUR, pages=back)
        assert [row[8] for row in sent(export(**OF_MARCH))] == ["3", "2", "1"]

    def test_empty_period_returns_no_rows(self, export):
        assert sent(export(**OF_MARCH)) == []
        assert json.loads(export(format="json", **OF_MARCH).getvalue()) == {"results": [], "next": None}

    def test_default_period_is_the_last_30_days(self, export):
        now = timezone.now()
        midnight = timezone.localtime(now - 30 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        for number, moment in enumerate((midnight - MINUTE, midnight, now - MINUTE)):
            a_run(moment, pages=number)
        assert [row[8] for row in sent(export())] == ["1", "2"]


class TestRefusals:
    @pytest.mark.one_database("refused before the database is asked")
    @pytest.mark.parametrize(
        ("query", "field", "code"),
        [
            ({"from": "yesterday"}, "from", "not_a_moment"),
            ({"to": "2026-02-30"}, "to", "not_a_moment"),
            ({"from": "2026-03-01T00:00:00"}, "from", "not_a_moment"),
            ({"from": "2026-03-01T00:00:00 01:00"}, "from", "not_a_moment"),
            ({"from": "20260301"}, "from", "not_a_moment"),
            ({"from": "٢٠٢٦-٠٣-٠١"}, "from", "not_a_moment"),
            ({"from": "0001-01-01T00:00:00+23:00"}, "from", "not_a_moment"),
            ({"to": "9999-12-31"}, "to", "not_a_moment"),
            ({"from": ""}, "from", "not_a_moment"),
            ({"from": "2026-04-01", "to": "2026-04-01"}, "from", "not_before_to"),
            ({"from": "2026-04-02", "to": "2026-04-01"}, "from", "not_before_to"),
            ({"from": "2099-01-01"}, "from", "not_before_to"),
            ({"group": "licence"}, "group", "not_groups"),
            ({"group": "license,license"}, "group", "not_groups"),
            ({"group": "license,"}, "group", "not_groups"),
            ({"group": ""}, "group", "not_groups"),
            ({"format": "xlsx"}, "format", "invalid_choice"),
            ({"format": ""}, "format", "invalid_choice"),
        ],
    )
    def test_invalid_parameter_is_named(self, call, staff_token, query, field, code):
        answer = call("GET", "usage/export", staff_token, **query)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (400, "validation_failed")
        assert [(error["field"], error["code"]) for error in body["errors"]] == [(field, code)]

    def test_all_invalid_parameters_are_reported_without_values(self, call, staff_token):
        names = ["to", "from", "group", "format"]
        answer = call("GET", "usage/export", staff_token, **dict.fromkeys(names, "Secret7"))
        assert [error["field"] for error in answer.json()["errors"]] == names
        assert "Secret7" not in answer.content.decode()

    def test_token_of_another_kind_is_refused(self, call, client_token, agent_token):
        assert call("GET", "usage/export").status_code == 401
        assert call("GET", "usage/export", client_token).json()["code"] == "insufficient_scope"
        assert call("GET", "usage/export", agent_token).json()["code"] == "insufficient_scope"

    @pytest.mark.parametrize(
        ("names", "status"), [(["view_run"], 403), (["export_run"], 403), (["view_run", "export_run"], 200)]
    )
    def test_staff_need_permissions_to_view_and_export(self, call, names, status):
        user = User.objects.create_user("sam", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        assert call("GET", "usage/export", issue_token("staff", user=user)[1]).status_code == status

    def test_refused_export_is_not_audited(self, call, staff_token):
        call("GET", "usage/export", staff_token, format="x")
        assert not AuditEvent.objects.filter(action="usage.exported").exists()


class TestResponse:
    @pytest.mark.one_database("computed in Python")
    @pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "image/png"])
    @pytest.mark.parametrize(
        ("form", "content_type"), [("csv", "text/csv; charset=utf-8"), ("json", "application/json")]
    )
    def test_accept_header_does_not_change_the_format(self, export, accept, form, content_type):
        answer = export(format=form, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == content_type
        assert answer.streaming

    def test_response_is_an_attachment_without_caching(self, export):
        headers = export(format="json").headers
        assert headers["Content-Disposition"] == f'attachment; filename="usage-{timezone.localdate():%Y-%m-%d}.json"'
        assert headers["Cache-Control"] == "no-store"

    def test_export_is_audited(self, export):
        export(group="license,day", **OF_MARCH)
        event = AuditEvent.objects.get(action="usage.exported")
        assert (event.actor, event.subject) == ("user:alice", "usage")
        assert event.after == {
            "from": "2026-03-01T00:00:00.000Z", "to": "2026-04-01T00:00:00.000Z", "group": "license,day", "format": "csv",
        }  # fmt: skip

    def test_formula_is_escaped(self, export):
        a_run(license_ref="+1")
        create_rollup(NOON, license_ref="-2")
        assert sent(export(**OF_MARCH))[0][1] == "'+1"
        assert sent(export(group="license", **OF_MARCH))[0][0] == "'-2"
        assert (
            json.loads(export(group="license", format="json", **OF_MARCH).getvalue())["results"][0]["license_ref"]
            == "-2"
        )

    def test_runs_are_sorted_by_hour_then_receipt(self, export):
        later, *earlier = [create_run(received_at=moment) for moment in (NOON, NOON - HOUR, NOON - HOUR + MINUTE)]
        wanted = [run.run_id.hex for run in (*earlier, later)]
        assert [row[0] for row in sent(export(**OF_MARCH))] == wanted

    @pytest.mark.parametrize("form", ["csv", "json"])
    @pytest.mark.parametrize(
        ("error", "status", "code"), [(RuntimeError, 500, "internal_error"), (OperationalError, 503, "not_ready")]
    )
    def test_error_before_first_row_is_a_problem(self, call, staff_token, monkeypatch, form, error, status, code):
        def fails(rows):
            raise error("Secret7")
            yield

        monkeypatch.setattr(exports, "stream", fails)
        answer = call("GET", "usage/export", staff_token, format=form)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Secret7" not in answer.content.decode()

    def test_rows_are_sent_while_they_are_read(self, monkeypatch):
        for number in range(3):
            create_rollup(NOON + number * HOUR)
        read = []
        known = exports.stream
        monkeypatch.setattr(exports, "stream", lambda rows: (read.append(row) or row for row in known(rows)))
        rows = export_rows(ExportQuery(MARCH, APRIL, ("day", "license")), timezone.now())
        assert read == []
        next(rows)
        assert len(read) == 1

    def test_memory_is_independent_of_row_count(self, export, monkeypatch):
        monkeypatch.setattr(exports, "ROWS_AT_A_TIME", 20)
        monkeypatch.setattr("portal.desk.exports.CHUNK_CHARACTERS", 1_000)
        rows = [
            RunRollup(
                hour=MARCH + number % 700 * HOUR, license_ref=f"LIC-{number}", app_name="gui", app_version="6", runs=1,
                documents=1, succeeded=1, failed=0, pages=1,
            )
            for number in range(2_000)
        ]  # fmt: skip
        RunRollup.objects.bulk_create(rows)
        del rows
        sum(map(len, export(group="license,day", **OF_MARCH).streaming_content))  # fills caches
        tracemalloc.start()
        try:
            answer = export(group="license,day", **OF_MARCH)
            lines = sum(chunk.count(b"\n") for chunk in answer.streaming_content)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert lines == 2_001
        assert peak < 400_000  # all rows at once take 700,000
