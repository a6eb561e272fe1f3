"""Run single checks of doctor."""

from portal.status.doctor import runs


def rows_of(name: str) -> dict[str, runs.Row]:
    """Run the registered check in this thread, and return its rows by name."""
    check = next(check for check in runs.list_checks(calls_out=True) if check.name == name)
    return {row.name: row for row in runs.run_check(check)}
