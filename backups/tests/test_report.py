"""Parsing of reports, without files or database."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from backups.scanner import report
from backups.tests.factories import AGENT, DATABASE, REPORTED, dump, report_section

NAME = f"OPERATION_20250612_1304_{AGENT}.json"
SAMPLES = Path(settings.BASE_DIR) / "demo" / "deposits"


def parsed(content, wanted=(DATABASE,)):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return report.parse_report(NAME, REPORTED, AGENT, wanted, raw)


def body(**changes):
    root = {"agent_id": AGENT, "timestamp": "2025-06-12T13:04:11Z", "databases": {DATABASE: report_section()}}
    return {key: value for key, value in (root | changes).items() if value is not ...}


def codes(claim):
    return [fault["code"] for fault in claim.faults]


def test_first_dialect_is_parsed():
    path = SAMPLES / "agent_douala_prod_01" / "log" / "OPERATION_20250612_1300_agent_douala_prod_01.json"
    found = report.parse_report(path.name, REPORTED, "agent_douala_prod_01", ["compta_db"], path.read_bytes())
    assert found.moment == datetime(2025, 6, 12, 13, 4, 11, tzinfo=UTC)
    claim = found.claims["compta_db"]
    assert (claim.size, claim.sha256[:8], claim.staged_name, claim.failed, claim.faults) == (
        33972,
        "2efd07eb",
        None,
        None,
        (),
    )
    assert found.unexpected == ("stock_db",)


def test_second_dialect_is_parsed():
    path = SAMPLES / "SIRPACAM_YAOUNDE_CENTRE" / "log" / "20250612_200600_SIRPACAM_YAOUNDE_CENTRE.json"
    database = "SIRPACAM_YAOUNDE_CAISSE_2025"
    found = report.parse_report(path.name, REPORTED, "SIRPACAM_YAOUNDE_CENTRE", [database], path.read_bytes())
    assert found.moment == datetime(2025, 6, 12, 20, 6, tzinfo=UTC)
    claim = found.claims[database]
    assert (claim.size, claim.sha256[:8], claim.staged_name) == (12152, "af4bbdeb", f"{database}.sql.gz")


@pytest.mark.parametrize(
    "key", ["sha256", "sha256_checksum", "hash_post_compress", "agent_compress_hash_post_compress"]
)
@pytest.mark.parametrize("size", ["size", "size_post_compress", "size_bytes", "agent_compress_size_post_compress"])
def test_hash_and_size_are_found_under_each_name(key, size):
    steps = report_section() | {"compress_process": {"status": True, key: "AB" * 32, size: 5}}
    claim = parsed(body(databases={DATABASE: steps})).claims[DATABASE]
    assert (claim.sha256, claim.size, claim.faults) == ("ab" * 32, 5, ())


@pytest.mark.parametrize(
    ("content", "fault", "is_complete"),
    [
        (b"", "report_not_json", False),
        (b'{"agent_id": "SRV', "report_not_json", False),
        (b'{"a": NaN}', "report_not_json", False),
        (b'{"a": 1, "a": 2}', "report_not_json", False),
        (b"\xff\xfe{\0}\0", "report_utf16", False),
        (b'{"a": 1}' + b"\0" * 9, "report_nul", False),
        (b"[" * 100_000, "report_too_deep", True),
        (b'{"a":' * 100_000, "report_too_deep", True),
        (b" " * (report.LARGEST + 1), "report_too_large", True),
        ([], "report_not_object", True),
        (body(timestamp=...), "report_no_moment", True),
        (body(timestamp=1749733451), "report_no_moment", True),
        (body(timestamp="2025-06-12T13:04:60Z"), "report_leap_second", True),
        (body(timestamp="yesterday"), "report_no_moment", True),
        (body(timestamp="２０２５-06-12T13:04:11Z"), "report_no_moment", True),
        (body(timestamp="0001-01-01T00:00:00+23:00"), "report_no_moment", True),
        (body(agent_id="other"), "report_other_agent", True),
        (body(agent_id=["x"]), "report_other_agent", True),
        (body(databases=...), "report_no_databases", True),
        (body(databases=[]), "report_no_databases", True),
    ],
)
def test_malformed_report_has_a_fault(content, fault, is_complete):
    found = parsed(content)
    assert (found.fault["code"], found.is_complete, found.claims) == (fault, is_complete, {})


def test_byte_order_mark_is_accepted():
    assert parsed(b"\xef\xbb\xbf" + json.dumps(body()).encode()).fault is None


def test_faulty_report_keeps_its_moment():
    assert parsed(body(databases=[], timestamp="2025-06-12T15:00:00+01:00")).moment == datetime(
        2025, 6, 12, 14, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({"compress": {"sha256": None}}, ["hash_missing"]),
        ({"compress": {"sha256": "ab"}}, ["hash_malformed"]),
        ({"compress": {"sha256": "０" * 64}}, ["hash_malformed"]),
        ({"compress": {"sha256": 5}}, ["hash_malformed"]),
        ({"compress": {"sha256_checksum": "ab" * 32}}, ["hash_ambiguous"]),
        ({"compress": {"size": None}}, ["size_missing"]),
        ({"compress": {"size": True}}, ["size_malformed"]),
        ({"compress": {"size": "12 "}}, ["size_malformed"]),
        ({"compress": {"size_bytes": 1}}, ["size_ambiguous"]),
        ({"compress": {"size": 1.5}}, ["size_malformed"]),
        ({"compress": {"size": -1}}, ["size_malformed"]),
        ({"compress": {"size": 2**63}}, ["size_malformed"]),
        ({"backup": {"status": "true"}}, ["status_malformed"]),
        ({"backup": {"status": 1}}, ["status_malformed"]),
        ({"backup": {"start_time": "noon"}}, ["moment_malformed"]),
        ({"backup": {"end_time": "2025-06-12T13:04:60"}}, ["moment_leap_second"]),
        ({"backup": {"status": None}, "transfer": {"status": None}}, ["status_malformed", "status_malformed"]),
    ],
)
def test_each_fault_of_a_section_is_listed(steps, expected):
    assert codes(parsed(body(databases={DATABASE: report_section(**steps)})).claims[DATABASE]) == expected


def test_missing_step_is_a_fault():
    steps = {name: step for name, step in report_section().items() if name != "transfer_process"}
    claim = parsed(body(databases={DATABASE: steps})).claims[DATABASE]
    assert claim.faults == ({"code": "section_missing", "section": "transfer"},)


@pytest.mark.parametrize("value", [None, [], "ok", 5])
def test_malformed_section_fails_only_its_database(value):
    found = parsed(body(databases={DATABASE: value, "stock_db": report_section()}), [DATABASE, "stock_db"])
    assert codes(found.claims[DATABASE]) == ["section_malformed"]
    assert codes(found.claims["stock_db"]) == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/.b.gz", "a/", ".hidden.gz", "dump.sql", "ｄump.gz", "x.gz\n", 5]
)
def test_staged_name_must_be_plain(name):
    claim = parsed(body(databases={DATABASE: report_section() | {"staged_file_name": name}})).claims[DATABASE]
    assert (codes(claim), claim.staged_name) == (["staged_name_malformed"], None)


def test_failed_step_needs_no_hash():
    steps = report_section(backup={"status": False, "error_message": "disk\x1b[31m full\n"}) | {
        "compress_process": {"status": None}
    }
    claim = parsed(body(databases={DATABASE: steps})).claims[DATABASE]
    assert claim.failed == {"code": "step_failed_saying", "section": "backup_process", "text": "disk [31m full"}


def test_message_of_a_failed_step_is_cut_and_redacted():
    token = "vigie_agent_" + "a" * 12 + "_" + "b" * 43 + "_" + "c" * 6
    steps = report_section(transfer={"status": False, "error_message": f"refused {token} " + "x" * 500})
    text = parsed(body(databases={DATABASE: steps})).claims[DATABASE].failed["text"]
    assert "b" * 43 not in text
    assert len(text) == 200


def test_unexpected_databases_are_limited():
    found = parsed(body(databases={f"db{n}": 1 for n in range(10_000)}))
    assert (found.claims, len(found.unexpected)) == ({}, report.MAX_UNEXPECTED)


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        (f"OPERATION_20250612_1304_{AGENT}.json", datetime(2025, 6, 12, 13, 4, tzinfo=UTC)),
        (f"20250612_200600_{AGENT}.json", datetime(2025, 6, 12, 20, 6, tzinfo=UTC)),
        (f"2025-06-12_20-06-00_{AGENT.lower()}.json", datetime(2025, 6, 12, 20, 6, tzinfo=UTC)),
        (f"2025-06-12_200600_{AGENT}.json", None),
        (f"OPERATION_20250612_1304_{AGENT}.json.part", None),
        (f"OPERATION_20250612_1304_{AGENT}2.json", None),
        ("OPERATION_20250612_1304_other.json", None),
        (f"OPERATION_20251312_1304_{AGENT}.json", None),
        (f"OPERATION_２０２５０６１２_1304_{AGENT}.json", None),
        (f"OPERATION_20250612_1304_../{AGENT}.json", None),
    ],
)
def test_only_report_names_have_a_moment(name, moment):
    assert report.moment_of_name(name, AGENT) == moment


def test_time_without_zone_is_utc():
    found = parsed(body(timestamp="2025-06-12 13:04:11.142592"))
    assert found.moment == datetime(2025, 6, 12, 13, 4, 11, 142592, tzinfo=UTC)
    assert found.spellings == {"no_zone"}


@pytest.mark.parametrize("key", ["timestamp", "operation_timestamp", "operation_end_time"])
def test_time_of_the_operation_is_found_under_each_name(key):
    found = parsed(body(**{"timestamp": ..., key: "2025-06-12T13:04:11Z"}))
    assert (found.fault, found.moment, found.spellings) == (None, datetime(2025, 6, 12, 13, 4, 11, tzinfo=UTC), set())


@pytest.mark.parametrize(
    ("steps", "spelling"),
    [
        (report_section(backup={"status": "True"}), "status_as_text"),
        (report_section(compress={"size": str(len(dump()))}), "size_as_text"),
        (report_section() | {"staged_file_name": r"C:\Backup\compta_db.sql.gz"}, "staged_path"),
        (report_section() | {"staged_file_name": "/home/agent/compta_db.sql.gz"}, "staged_path"),
        (report_section(transfer={"end_time": "2025-06-12 13:04:11"}), "no_zone"),
    ],
)
def test_spellings_of_real_agents_are_accepted_and_listed(steps, spelling):
    found = parsed(body(databases={DATABASE: steps}))
    claim = found.claims[DATABASE]
    assert (claim.faults, claim.failed, claim.size, found.spellings) == ((), None, len(dump()), {spelling})
    assert claim.staged_name in (None, "compta_db.sql.gz")


def test_false_as_text_is_a_failure_and_null_as_text_no_message():
    claim = parsed(
        body(databases={DATABASE: report_section(transfer={"status": "False", "error_message": "null"})})
    ).claims
    assert claim[DATABASE].failed == {"code": "step_failed", "section": "transfer_process"}


def test_agent_id_matches_in_any_case():
    found = report.parse_report(
        NAME.lower().replace("operation", "OPERATION"),
        REPORTED,
        AGENT,
        [],
        json.dumps(body(agent_id=AGENT.lower())).encode(),
    )
    assert (found.fault, found.spellings) == (None, {"agent_case"})


def test_database_names_are_compared_in_nfc():
    composed, decomposed = "Comptabilit\u00e9", "Comptabilite\u0301"
    assert [*parsed(body(databases={decomposed: report_section()}), [composed]).claims] == [composed]


@pytest.mark.parametrize(
    ("overall", "steps", "expected"),
    [
        ("failed_globally", report_section(), True),
        ("completed_with_errors", report_section(), True),
        (False, report_section(), True),
        ("False", report_section(), True),
        ("completed", report_section(), False),
        (True, report_section(), False),
        (None, report_section(), False),
        ("failed_globally", report_section(backup={"status": False}), False),
    ],
)
def test_overall_failure_without_failed_step_is_contradictory(overall, steps, expected):
    assert parsed(body(overall_status=overall, databases={DATABASE: steps})).is_contradictory == expected


def test_steps_keep_status_times_and_sizes():
    steps = (
        parsed(body(databases={DATABASE: report_section(backup={"end_time": "2025-06-12 13:01:00"})}))
        .claims[DATABASE]
        .steps
    )
    assert steps["backup"] == {
        "status": True, "start_time": "2025-06-12T13:00:00Z", "end_time": "2025-06-12T13:01:00Z", "size": 1000,
    }  # fmt: skip
    assert steps["transfer"] == {"status": True}
