"""A channel to be notified by, and a PDF that cannot be made."""

from __future__ import annotations

import pytest

from beta.report.gather import Report
from portal.desk.pdf_pages import TooManyPages
from portal.models import NotificationChannel


@pytest.fixture
def channel(db):
    return NotificationChannel.objects.create(name="Operators", kind="email", addresses="ops@example.org")


@pytest.fixture
def broken_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report can be printed."""

    def fails(report: Report) -> bytes:
        raise TooManyPages

    monkeypatch.setattr("beta.formats.pdf.render_pdf", fails)
