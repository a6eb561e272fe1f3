import pytest

from backups.drills import outcomes
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome


def test_errors_and_warnings_of_a_dump_are_bounded() -> None:
    outcome = Outcome()

    for number in range(2 * outcomes.MAX_ERRORS):
        outcome.fail("x" * 1_000, number)
        outcome.warn("extension_missing", extension=str(number))

    assert (len(outcome.errors), outcome.errors_omitted) == (outcomes.MAX_ERRORS, outcomes.MAX_ERRORS)
    assert len(outcome.errors[0]["message"]) == outcomes.MAX_MESSAGE
    assert len(outcome.warnings) == outcomes.MAX_WARNINGS


def test_names_of_tables_are_bounded() -> None:
    outcome = Outcome(rows={"x" * outcomes.MAX_NAMES_BYTES: 1, "y": 1})

    outcome.conclude(is_restored=True)

    assert (outcome.status, outcome.rows, len(outcome.errors)) == (FAILED, {}, 1)


def test_schema_is_bounded() -> None:
    outcome = Outcome()

    for _time in range(3):
        outcome.keep_schema("x" * (outcomes.MAX_SCHEMA_BYTES // 2))

    assert len(outcome.schema) < outcomes.MAX_SCHEMA_BYTES


@pytest.mark.parametrize(
    ("errors", "doubts", "is_restored", "status"),
    [
        ([], [], True, PROVEN),
        ([], ["misnamed", "trailing_garbage"], True, PROVEN),
        ([], [], False, UNSUPPORTED),
        ([], ["incomplete"], True, FAILED),
        ([], ["not_a_dump"], False, FAILED),
        ([{"line": 1, "message": "x"}], [], True, FAILED),
    ],
)
def test_status_follows_from_errors_and_doubts(errors, doubts, is_restored: bool, status: str) -> None:
    outcome = Outcome(errors=errors, doubts=doubts, rows={"a": 0})

    outcome.conclude(is_restored=is_restored)

    assert outcome.status == status


def test_zero_bytes_are_not_sent() -> None:
    outcome = Outcome(rows={"a\0b": 1}, warnings=[{"code": "x", "table": "\0"}])

    assert (outcome.as_json()["rows"], outcome.as_json()["warnings"]) == ({"ab": 1}, [{"code": "x", "table": ""}])


def test_restored_database_without_tables_is_no_proof() -> None:
    outcome = Outcome()

    outcome.conclude(is_restored=True)

    assert outcome.status == FAILED
