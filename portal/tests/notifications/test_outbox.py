"""The outbox: recipients, duplicates and transactions of messages."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import get_language, override
from django_q.models import OrmQ

from portal.models import NotificationChannel, OutboxMessage
from portal.notifications import Notice, Severity, State, in_portal_language, notify
from portal.notifications.configuration import find_channel, synchronise_environment_channels

pytestmark = pytest.mark.django_db


def notice(key="a", **fields):
    return Notice(
        **{"subject": "backup:7", "severity": Severity.CRITICAL, "title": "T", "text": "X", "dedupe_key": key} | fields
    )


@pytest.fixture
def mail():
    return NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org\nb@example.org")


@pytest.fixture
def telegram(settings):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = "123456:" + "A" * 35, "-100"
    synchronise_environment_channels()


def test_every_recipient_of_every_active_channel_gets_a_message(mail, telegram):
    NotificationChannel.objects.create(name="Off", kind="email", addresses="c@example.org", is_active=False)
    assert notify(notice()) == 3
    written = OutboxMessage.objects.order_by("pk").values_list("channel", "recipient")
    assert list(written) == [(mail.key, "a@example.org"), (mail.key, "b@example.org"), ("telegram", "-100")]


def test_notice_without_a_channel_writes_nothing():
    assert notify(notice()) == 0
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 2), (3, 3)])
def test_channel_receives_notices_of_its_severity_and_above(mail, threshold, count):
    NotificationChannel.objects.update(min_severity=threshold, addresses="a@example.org")
    assert notify(*(notice(severity.name, severity=severity) for severity in Severity)) == count
    assert {message.severity for message in OutboxMessage.objects.all()} == set(range(1, count + 1))


def test_same_dedupe_key_is_sent_once_per_recipient(mail):
    assert notify(notice("a"), notice("a")) == 2
    assert notify(notice("a"), notice("b")) == 2
    NotificationChannel.objects.update(addresses="a@example.org\nnew@example.org")
    assert notify(notice("a")) == 1
    assert OutboxMessage.objects.filter(dedupe_key="a").count() == 3


def test_number_of_queries_does_not_depend_on_the_notices(mail, telegram):
    def queries(*notices):
        with CaptureQueriesContext(connection) as captured:
            notify(*notices)
        return len([query for query in captured if "SAVEPOINT" not in query["sql"]])

    # SQLite takes a thousand parameters at a time, so it is not fifty here.
    assert queries(*(notice(f"many-{number}") for number in range(15))) == queries(notice("one"))


def test_rolled_back_notices_leave_no_messages(mail):
    with transaction.atomic():
        assert notify(notice()) == 2
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()
    assert not OrmQ.objects.exists()


def test_delivery_is_enqueued_once_per_notified_channel(mail, telegram):
    notify(notice("a"), notice("b"))
    assert OrmQ.objects.filter(key="quick").count() == 2
    notify(notice("a"))
    assert OrmQ.objects.count() == 2


def test_messages_keep_the_order_of_their_notices(mail):
    notify(*(notice(key) for key in "cab"))
    assert list(
        OutboxMessage.objects.filter(recipient="a@example.org").order_by("pk").values_list("dedupe_key", flat=True)
    ) == list("cab")


def test_any_text_of_a_notice_can_be_stored(mail):
    long = "é" * 50_000
    notify(notice(long + "1", title=f"one\nline\0 \ud800{long}", text=f"a\0\nb{long}", subject=long, path=f"/{long}"))
    notify(notice(long + "2"))
    message = OutboxMessage.objects.earliest("pk")
    assert message.title.startswith("one line ?é")
    assert message.text.startswith("a\nb")
    assert message.path == ""
    assert OutboxMessage.objects.values("dedupe_key").distinct().count() == 2
    message.clean_fields(exclude=["next_attempt_at", "finished_at"])


@pytest.mark.parametrize(
    "fields", [{"path": "https://elsewhere"}, {"path": "//elsewhere"}, {"title": ""}, {"subject": ""}, {"key": ""}]
)
def test_invalid_notice_is_refused(fields):
    with pytest.raises(ValueError, match="notice"):
        notice(**fields)


def test_texts_are_built_in_the_language_of_the_portal(settings):
    settings.LANGUAGE_CODE = "fr"
    with override("en"):
        with in_portal_language():
            assert get_language() == "fr"
        assert get_language() == "en"


def test_telegram_needs_a_bot_and_a_chat(settings):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = "123456:" + "A" * 35, ""
    synchronise_environment_channels()
    assert notify(notice()) == 0
    assert find_channel("telegram") is None


def test_message_keeps_the_state_of_its_notice(mail):
    before = timezone.now()
    notify(notice(state=State.OPENED, path="/admin/"))
    message = OutboxMessage.objects.first()
    assert (message.state, message.status, message.path) == ("opened", "waiting", "/admin/")
    assert message.created_at >= before
    assert State.OPENED == "opened"


# --- The guardian's mail ---------------------------------------------------------------------------------------------


@pytest.fixture
def guardian(settings):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org", "h@example.org", "g@example.org"]
    synchronise_environment_channels()


def test_notice_for_a_channel_goes_to_that_channel_only(mail, telegram, guardian):
    assert notify(notice(channel="guardian", html="<p>X")) == 2
    written = OutboxMessage.objects.order_by("pk").values_list("channel", "recipient", "html")
    assert list(written) == [("guardian", "g@example.org", "<p>X"), ("guardian", "h@example.org", "<p>X")]


@pytest.mark.parametrize("severity", Severity)
def test_guardian_mail_receives_no_alerts(guardian, severity):
    assert notify(notice(severity=severity)) == 0


def test_guardian_mail_needs_recipients(mail, settings):
    settings.GUARDIAN_RECIPIENTS = []
    synchronise_environment_channels()
    assert find_channel("guardian") is None
    assert notify(notice(channel="guardian")) == 0


def test_oversized_html_is_sent_as_text(mail):
    notify(notice("a", html="\0" + "x" * 199_999), notice("b", html="x" * 200_001))
    lengths = {message.dedupe_key: len(message.html) for message in OutboxMessage.objects.all()}
    assert lengths == {"a": 199_999, "b": 0}
