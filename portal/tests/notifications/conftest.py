"""A fake Telegram for the tests of channels."""

import pytest

from portal.notifications.channels import base
from portal.tests.helpers.receiver import TOKEN, BotApi


@pytest.fixture
def api(settings, monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 5.0)
    with BotApi(TOKEN) as api:
        settings.TELEGRAM_API_BASE = api.url
        yield api
