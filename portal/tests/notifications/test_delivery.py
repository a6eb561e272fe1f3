"""Delivery: ordered, at least once, by one process per channel, despite failures of the other side."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from django.utils.translation import get_language, override
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from portal.base.encryption import encrypt
from portal.desk.findings import disabled_channels
from portal.models import AuditEvent, ChannelState, NotificationChannel, OutboxMessage
from portal.notifications import Notice, Severity, State, delivery, notify, states
from portal.notifications.channels import base
from portal.notifications.channels.base import DeliveryError
from portal.notifications.configuration import find_channel, synchronise_environment_channels
from portal.notifications.delivery import deliver, disable_unusable_channels
from portal.notifications.schedules import enqueue_due_deliveries, outdated_messages
from portal.tests.helpers import receiver
from portal.tests.helpers.receiver import BotApi, refusal
from portal.tests.helpers.smtp_sink import SmtpSink
from portal.tests.helpers.workers import deliver as work
from portal.work.queue import find_body

pytestmark = pytest.mark.django_db
TOKEN = "123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0"


class Clock:
    """The portal's clock, set by tests. No two times are the same, as the broker expects."""

    now = datetime(2026, 3, 10, 10, 2, tzinfo=UTC)

    def tick(self):
        self.forward(microseconds=1)
        return self.now

    def forward(self, **length):
        self.now += timedelta(**length)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock.tick)
    return clock


@pytest.fixture
def api(settings, monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 5.0)
    with BotApi(TOKEN) as api:
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID, settings.TELEGRAM_API_BASE = TOKEN, "-100", api.url
        synchronise_environment_channels()
        yield api


@pytest.fixture
def smtp(settings):
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port
        yield sink


def notify_of(title, subject="backup:7", state=State.NOTE, severity=Severity.CRITICAL):
    return notify(Notice(subject, severity, title, "X", f"{subject} {title}", state))


def state(key="telegram"):
    return ChannelState.objects.get(channel=key)


def statuses():
    return list(OutboxMessage.objects.order_by("pk").values_list("status", flat=True))


def titles(api):
    return [text.partition("</b>")[0].removeprefix("<b>") for text in api.texts]


def run_tasks():
    """Run queued tasks at once: django-q2's worker, which `work` is, sleeps between two polls."""
    queued = [SignedPackage.loads(row.payload)["args"] for row in OrmQ.objects.order_by("pk")]
    OrmQ.objects.all().delete()
    for name, *args in queued:
        find_body(name)(*args)


def pulse_and_work(clock):
    enqueue_due_deliveries(clock.now)
    run_tasks()


# --- Success ---------------------------------------------------------------------------------------------------------


def test_message_is_sent_by_the_task_enqueued_with_it(api):
    notify_of("Late")
    assert api.accepted == []
    assert work() == 1
    assert titles(api) == ["🔴 Late"]
    message = OutboxMessage.objects.get()
    assert (message.status, message.attempts, message.error) == ("sent", 1, "")
    assert message.finished_at
    assert (state().lease_expires_at, state().failures) == (None, 0)
    assert state().last_success_at == message.finished_at


def test_messages_keep_their_order(api):
    for number in range(5):
        notify_of(str(number))
    deliver("telegram")
    assert titles(api) == [f"🔴 {number}" for number in range(5)]


def test_sent_message_is_not_sent_again(api):
    notify_of("Late")
    deliver("telegram")
    deliver("telegram")
    assert len(api.accepted) == 1


def test_nothing_is_sent_inside_a_transaction(monkeypatch, transactional_db, api):
    inside = []
    monkeypatch.setattr(delivery, "send", lambda *args: inside.append(connection.in_atomic_block) or "-100")
    notify_of("Late")
    deliver("telegram")
    assert inside == [False]


def test_texts_of_delivery_are_in_the_language_of_the_portal(api, settings, monkeypatch):
    settings.LANGUAGE_CODE = "fr"
    spoken = []
    monkeypatch.setattr(delivery, "send", lambda *args: spoken.append(get_language()) or "-100")
    notify_of("Late")
    with override("en"):
        deliver("telegram")
    assert spoken == ["fr"]


def test_burst_is_sent_as_single_messages_and_one_digest_per_minute(api, clock):
    notify(*(Notice(f"s:{number}", Severity.WARNING, f"T{number}", "", f"k{number}") for number in range(40)))
    deliver("telegram")
    assert len(api.accepted) == 10
    assert "31 more messages: 31 warnings" in api.texts[-1]
    assert set(statuses()) == {"sent"}
    notify_of("One more")
    deliver("telegram")
    assert len(api.accepted) == 10
    OrmQ.objects.all().delete()
    enqueue_due_deliveries(clock.now)
    assert not OrmQ.objects.exists(), "asked for again before there is room"
    clock.forward(seconds=61)
    pulse_and_work(clock)
    assert titles(api)[-1] == "🔴 One more"


# --- Failures --------------------------------------------------------------------------------------------------------


def test_telegram_down_for_an_hour_loses_nothing_and_keeps_the_order(api, clock):
    api.usual = refusal(502, "Bad Gateway")
    notify_of("Late", state=State.OPENED)
    notify_of("Disk full", "disk:1", State.OPENED)
    for _ in range(29):
        clock.forward(minutes=1)
        pulse_and_work(clock)
    notify_of("Arrived", state=State.CLOSED)
    notify_of("Disk worse", "disk:1")
    for _ in range(31):
        clock.forward(minutes=1)
        pulse_and_work(clock)
    assert set(statuses()) == {"waiting"}
    assert 10 <= len(api.requests) <= 20
    api.usual = api.take
    clock.forward(minutes=6)
    pulse_and_work(clock)
    assert titles(api) == ["✅ Late: opened 10:02, closed 10:31 UTC", "🔴 Disk full", "🔴 Disk worse"]
    assert "Happened at 10:02 UTC" in api.texts[1]
    assert set(statuses()) == {"sent"}
    assert (state().failures, state().last_error) == (0, "")


def test_pauses_double_from_two_seconds_to_five_minutes():
    lengths = [states.backoff(failures).total_seconds() for failures in range(1, 30)]
    for length, usual in zip(lengths, [2, 4, 8, 16, 32, 64, 128, 256, *[300] * 21], strict=True):
        assert 0.8 * usual <= length <= 1.2 * usual
    assert states.backoff(1, 17).total_seconds() == 17
    assert states.backoff(9, 1).total_seconds() >= 240


def test_requested_pause_is_kept(api, clock):
    api.script = [refusal(429, "Too Many Requests", retry_after=40)]
    notify_of("Late")
    run_tasks()
    assert timedelta(seconds=39.9) < state().next_attempt_at - clock.now < timedelta(seconds=40)
    for seconds, sent in ((39, 0), (2, 1)):
        clock.forward(seconds=seconds)
        pulse_and_work(clock)
        assert len(api.accepted) == sent


def test_temporary_failure_pauses_the_whole_channel(api, clock):
    api.script = [refusal(500, "Oops")]
    notify_of("a")
    notify_of("b", "other:1")
    deliver("telegram")
    assert len(api.requests) == 1
    assert (state().failures, "Oops" in state().last_error) == (1, True)
    message = OutboxMessage.objects.earliest("pk")
    assert (message.attempts, "Oops" in message.error) == (1, True)
    deliver("telegram")
    assert len(api.requests) == 1


def test_lost_answer_is_retried(api, clock):
    api.script = [receiver.lose_the_reply]
    notify_of("Late")
    deliver("telegram")
    clock.forward(seconds=3)
    deliver("telegram")
    assert titles(api) == ["🔴 Late", "🔴 Late"]
    assert statuses() == ["sent"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, "Unauthorized"),
        refusal(403, "Forbidden: bot was blocked by the user"),
        refusal(403, "Forbidden: bot was kicked from the supergroup chat"),
        refusal(400, "Bad Request: chat not found"),
        refusal(400, "Bad Request: need administrator rights in the channel chat"),
        refusal(400, "Bad Request: have no rights to send a message"),
        refusal(400, "Bad Request: TOPIC_CLOSED"),
        refusal(400, "Bad Request: CHAT_WRITE_FORBIDDEN"),
        refusal(400, "Bad Request: CHAT_RESTRICTED"),
        refusal(418, "nobody knows this one"),
    ],
)
def test_permanent_failure_disables_the_channel_and_keeps_its_messages(api, clock, answer):
    api.script = [answer]
    notify_of("a", state=State.OPENED)
    notify_of("b", "other:1")
    deliver("telegram")
    clock.forward(minutes=1)
    enqueue_due_deliveries(clock.now)
    deliver("telegram")
    assert (len(api.requests), statuses()) == (1, ["waiting", "waiting"])
    assert str(answer[0]) in state().disabled_reason
    assert AuditEvent.objects.get(action="channel.disabled").subject == "channel:telegram"
    ChannelState.objects.enable()
    enqueue_due_deliveries(clock.now)
    deliver("telegram")
    assert titles(api) == ["🔴 a", "🔴 b"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("TELEGRAM_CHAT_ID", "-200"), ("TELEGRAM_CHAT_ID", "-100/7"), ("TELEGRAM_BOT_TOKEN", "123456:" + "B" * 35)],
)
def test_changed_setting_enables_the_channel_again(api, clock, settings, setting, value):
    api.script = [refusal(400, "Bad Request: TOPIC_CLOSED")]
    notify_of("Late")
    notify_of("Later")
    deliver("telegram")
    enqueue_due_deliveries(clock.now)
    assert state().disabled_at
    setattr(settings, setting, value)
    api.token = settings.TELEGRAM_BOT_TOKEN
    enqueue_due_deliveries(clock.now)
    assert state().disabled_at is None
    assert AuditEvent.objects.filter(action="channel.enabled", subject="channel:telegram").count() == 1
    deliver("telegram")
    chat, _, thread = settings.TELEGRAM_CHAT_ID.partition("/")
    assert {message["chat_id"] for message in api.accepted} == {chat}
    assert {message.get("message_thread_id") for message in api.accepted} == {int(thread) if thread else None}
    assert titles(api) == ["🔴 Late", "🔴 Later"]


def test_message_already_sent_to_the_new_chat_is_not_repeated(api, clock, settings):
    notify_of("Late")
    deliver("telegram")
    settings.TELEGRAM_CHAT_ID = "-200"
    notify_of("Late")
    settings.TELEGRAM_CHAT_ID = "-100"
    deliver("telegram")
    assert len(api.accepted) == 1
    assert statuses() == ["sent", "given_up"]


def test_moved_group_is_remembered_until_the_chat_changes(api, settings):
    api.script = [refusal(400, "upgraded", migrate_to_chat_id=-1001234)]
    notify_of("a")
    notify_of("b")
    deliver("telegram")
    notify_of("c")
    deliver("telegram")
    assert [message["chat_id"] for message in api.accepted] == ["-1001234"] * 3
    assert len(api.requests) == 4
    assert set(OutboxMessage.objects.values_list("recipient", flat=True)) == {"-100"}
    settings.TELEGRAM_CHAT_ID = "-200"
    notify_of("d")
    deliver("telegram")
    assert api.accepted[-1]["chat_id"] == "-200"


def test_permanently_refused_message_does_not_block_others(api):
    api.script = [refusal(400, "Bad Request: message is too long")]
    notify_of("a")
    notify_of("b")
    deliver("telegram")
    assert statuses() == ["failed", "sent"]
    assert "message is too long" in OutboxMessage.objects.earliest("pk").error
    assert state().disabled_at is None


# --- Several recipients ----------------------------------------------------------------------------------------------


@pytest.fixture
def team(smtp):
    return NotificationChannel.objects.create(name="Team", kind="email", addresses="bob@example.org\nann@example.org")


def test_refused_address_does_not_block_others(smtp, team):
    smtp.answers["RCPT TO:<BOB"] = "550 no such user"
    notify_of("a")
    notify_of("b")
    deliver(team.key)
    assert [(mail["To"], mail["Subject"]) for mail in smtp.mails] == [
        ("ann@example.org", "[Vigie] a"),
        ("ann@example.org", "[Vigie] b"),
    ]
    assert statuses() == ["failed", "sent", "failed", "sent"]
    assert state(team.key).disabled_at is None


@pytest.mark.parametrize(
    ("command", "answer"), [("RCPT", "550 5.7.1 relaying denied"), ("END OF DATA", "554 5.7.1 sender is listed")]
)
def test_refusal_of_mail_by_policy_keeps_the_messages_of_all_recipients(smtp, team, command, answer):
    smtp.answers[command] = answer
    notify_of("a")
    deliver(team.key)
    assert statuses() == ["waiting", "waiting"]
    assert state(team.key).disabled_at
    del smtp.answers[command]
    ChannelState.objects.enable()
    deliver(team.key)
    assert [mail["To"] for mail in smtp.mails] == ["bob@example.org", "ann@example.org"]


def test_held_address_keeps_its_order_and_does_not_block_others(smtp, team, clock):
    smtp.answers["RCPT TO:<BOB"] = "450 greylisted"
    notify_of("a")
    notify_of("b")
    deliver(team.key)
    notify_of("c")
    deliver(team.key)
    assert [mail["To"] for mail in smtp.mails] == ["ann@example.org"] * 3
    assert OutboxMessage.objects.waiting().filter(next_attempt_at=None).count() == 0
    OrmQ.objects.all().delete()
    enqueue_due_deliveries(clock.now)
    assert not OrmQ.objects.exists()
    del smtp.answers["RCPT TO:<BOB"]
    clock.forward(seconds=3)
    pulse_and_work(clock)
    assert [mail["Subject"] for mail in smtp.mails[3:]] == ["[Vigie] a", "[Vigie] b", "[Vigie] c"]


def test_temporary_refusal_keeps_the_order_of_messages(smtp, team, monkeypatch):
    tried = []

    def send(channel, outgoing):
        tried.append((outgoing.address, outgoing.title))
        if len(tried) == 1:
            raise DeliveryError("450 greylisted", only_this=True)
        return outgoing.address

    monkeypatch.setattr(delivery, "send", send)
    notify_of("a")
    notify_of("b")
    deliver(team.key)
    assert tried == [("bob@example.org", "a"), ("ann@example.org", "a"), ("ann@example.org", "b")]


def test_removed_recipient_gets_no_waiting_messages(smtp, team):
    notify_of("a")
    NotificationChannel.objects.update(addresses="ann@example.org\neve@example.org")
    deliver(team.key)
    assert [mail["To"] for mail in smtp.mails] == ["ann@example.org"]
    assert statuses() == ["given_up", "sent"]


def test_single_successor_of_several_recipients_gets_each_message_once(smtp, team):
    notify_of("a")
    notify_of("b")
    NotificationChannel.objects.update(addresses="list@example.org")
    deliver(team.key)
    assert [(mail["To"], mail["Subject"]) for mail in smtp.mails] == [
        ("list@example.org", "[Vigie] a"),
        ("list@example.org", "[Vigie] b"),
    ]
    assert sorted(statuses()) == ["given_up", "given_up", "sent", "sent"]


def test_failure_under_an_old_configuration_does_not_disable_the_new_one(smtp, team, monkeypatch):
    notify_of("a")

    def mended_meanwhile(channel, outgoing):
        NotificationChannel.objects.update(addresses="eve@example.org")
        states.synchronise_states([find_channel(team.key)])
        raise DeliveryError("no such mail server", permanent=True)

    monkeypatch.setattr(delivery, "send", mended_meanwhile)
    deliver(team.key)
    assert ChannelState.objects.get(channel=team.key).disabled_at is None


def test_messages_wait_while_their_channel_is_switched_off(smtp, team):
    notify_of("a")
    NotificationChannel.objects.update(is_active=False)
    enqueue_due_deliveries(timezone.now())
    run_tasks()
    assert (smtp.mails, statuses()) == ([], ["waiting", "waiting"])
    NotificationChannel.objects.update(is_active=True)
    enqueue_due_deliveries(timezone.now())
    run_tasks()
    assert len(smtp.mails) == 2


# --- Delivery leases -------------------------------------------------------------------------------------------------


def test_channel_with_a_leased_delivery_is_left_alone(api, clock):
    notify_of("Late")
    lease = states.acquire_delivery_lease(find_channel("telegram"))
    deliver("telegram")
    assert states.acquire_delivery_lease(find_channel("telegram")) is None
    OrmQ.objects.all().delete()
    enqueue_due_deliveries(clock.now)
    assert (api.accepted, OrmQ.objects.count()) == ([], 0)
    lease.release()
    deliver("telegram")
    assert len(api.accepted) == 1


def test_kill_between_sending_and_marking_sends_again_and_loses_nothing(api, clock, monkeypatch):
    notify_of("a")
    notify_of("b")

    def killed(*args):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "record_success", killed)
        patched.setattr(states.DeliveryLease, "release", lambda lease: None)
        with pytest.raises(SystemExit):
            deliver("telegram")
    assert (titles(api), statuses()) == (["🔴 a"], ["waiting", "waiting"])
    enqueue_due_deliveries(clock.now)
    deliver("telegram")
    assert len(api.accepted) == 1, "the lease of the dead still holds"
    clock.forward(seconds=61)
    enqueue_due_deliveries(clock.now)
    deliver("telegram")
    assert titles(api) == ["🔴 a", "🔴 a", "🔴 b"]
    assert set(statuses()) == {"sent"}


def test_process_that_lost_its_lease_marks_its_sent_message_and_stops(api, clock, monkeypatch):
    notify_of("a")
    notify_of("b")
    real = delivery.send

    def slow(*args):
        clock.forward(seconds=61)
        states.acquire_delivery_lease(args[0])
        return real(*args)

    monkeypatch.setattr(delivery, "send", slow)
    deliver("telegram")
    assert titles(api) == ["🔴 a"]
    assert statuses() == ["sent", "waiting"]
    assert state().lease_expires_at > clock.now, "the other's lease was not ended"


def test_process_that_lost_its_lease_neither_disables_nor_pauses_the_channel(api, clock, monkeypatch):
    notify_of("a")

    def slow(channel, outgoing):
        clock.forward(seconds=61)
        states.acquire_delivery_lease(channel)
        raise DeliveryError("no", permanent=True)

    monkeypatch.setattr(delivery, "send", slow)
    deliver("telegram")
    assert (state().disabled_at, state().failures, OutboxMessage.objects.get().attempts) == (None, 0, 0)


def test_delivery_lease_is_renewed_by_each_sending(api, clock, monkeypatch):
    for number in range(5):
        notify_of(str(number), f"s:{number}")
    real = delivery.send

    def slow(*args):
        clock.forward(seconds=20)
        assert states.acquire_delivery_lease(args[0]) is None
        return real(*args)

    monkeypatch.setattr(delivery, "send", slow)
    deliver("telegram")
    assert len(api.accepted) == 5


def test_delivery_that_takes_too_long_enqueues_another(api, monkeypatch):
    monkeypatch.setattr(delivery, "DELIVERY_SECONDS", 0.0)
    notify_of("a")
    OrmQ.objects.all().delete()
    deliver("telegram")
    assert api.accepted == []
    assert OrmQ.objects.count() == 1
    monkeypatch.undo()


def test_delivery_and_one_more_sending_fit_into_the_task_timeout(settings):
    longest = delivery.DELIVERY_SECONDS + base.SEND_SECONDS
    assert longest <= 0.75 * settings.Q_CLUSTER["ALT_CLUSTERS"]["quick"]["timeout"]
    assert states.LEASE_DURATION.total_seconds() > base.SEND_SECONDS * 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_deliveries_send_once(api):
    for number in range(8):
        notify_of(str(number), f"s:{number}")
    start = threading.Barrier(4)

    def one():
        start.wait()
        deliver("telegram")
        connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert titles(api) == [f"🔴 {number}" for number in range(8)]
    assert statuses() == ["sent"] * 8


# --- Pulse, retention and settings -----------------------------------------------------------------------------------


def test_pulse_enqueues_one_delivery_until_it_starts(api, clock):
    notify_of("Late")
    OrmQ.objects.all().delete()
    for seconds, tasks in ((0, 1), (1, 1), (28, 1), (2, 2)):
        clock.forward(seconds=seconds)
        enqueue_due_deliveries(clock.now)
        assert OrmQ.objects.count() == tasks
    run_tasks()
    notify_of("Later")
    OrmQ.objects.all().delete()
    enqueue_due_deliveries(clock.now)
    assert OrmQ.objects.count() == 1


def test_pulse_is_cheap_if_nothing_waits(api, clock, django_assert_num_queries):
    enqueue_due_deliveries(clock.now)
    with django_assert_num_queries(3):
        enqueue_due_deliveries(clock.now)
    assert not OrmQ.objects.exists()


def test_delivery_for_a_deleted_channel_does_nothing():
    deliver("channel:999")
    assert not ChannelState.objects.exists()


def test_token_is_in_no_table_and_no_log_line(api, clock, monkeypatch, capfd):
    monkeypatch.setattr(base, "SEND_SECONDS", 0.3)
    for number, answer in enumerate([refusal(401, f"bot {TOKEN}"), receiver.reset, receiver.hang]):
        api.script = [answer]
        notify_of(str(number))
        pulse_and_work(clock)
        ChannelState.objects.enable()
        clock.forward(minutes=6)
    kept = [
        repr(row) for model in (OutboxMessage, ChannelState, AuditEvent, OrmQ) for row in model.objects.values_list()
    ]
    assert len(api.requests) == 3
    assert not [row for row in kept if "K4NARI" in row]
    assert "K4NARI" not in "".join(capfd.readouterr())


def test_sent_messages_are_kept_for_their_retention_and_waiting_ones_forever(api, settings):
    settings.NOTIFICATION_RETENTION_DAYS = 90
    now = timezone.now()
    for number, (status, days) in enumerate(
        [("sent", 91), ("failed", 91), ("given_up", 91), ("sent", 89), ("waiting", None)]
    ):
        notify_of(str(number))
        finished = None if days is None else now - timedelta(days=days)
        OutboxMessage.objects.filter(title=str(number)).update(
            status=status, finished_at=finished, created_at=now - timedelta(days=400)
        )
    assert set(outdated_messages(now).values_list("title", flat=True)) == {"0", "1", "2"}


def test_rolled_back_change_sends_nothing(api):
    with transaction.atomic():
        notify_of("Late")
        transaction.set_rollback(True)
    enqueue_due_deliveries(timezone.now())
    assert (work(), api.accepted) == (0, [])


# --- HTML ------------------------------------------------------------------------------------------------------------


def laid_out(key):
    words = {"title": f"Report {key}", "text": "All <is> well.", "path": "/admin/"}
    return Notice("guardian", Severity.INFO, dedupe_key=key, channel="guardian", html="<table><tr><td>All", **words)


def test_html_is_sent_beside_the_text_and_then_deleted(smtp, settings):
    settings.GUARDIAN_RECIPIENTS, settings.PORTAL_URL = ["g@example.org"], "https://vigie.example.org"
    synchronise_environment_channels()
    notify(laid_out("1"))
    assert work() == 1
    (mail,) = smtp.mails
    assert (mail["To"], mail["Subject"]) == ("g@example.org", "[Vigie] Report 1")
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, html = (mail.get_body([kind]).get_content() for kind in ("plain", "html"))
    assert text.split() == ["All", "<is>", "well.", "https://vigie.example.org/admin/"]
    assert html.strip() == "<table><tr><td>All"
    message = OutboxMessage.objects.get()
    assert (message.status, message.html, message.text) == ("sent", "", "All <is> well.")


def test_reports_arrive_after_a_day_without_a_mail_server(smtp, settings, clock):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    notify(*(laid_out(f"{number:02}") for number in range(12)))
    clock.forward(hours=24)
    deliver("guardian")
    assert len(smtp.mails) == 10
    clock.forward(minutes=2)
    deliver("guardian")
    assert [mail["Subject"] for mail in smtp.mails] == [f"[Vigie] Report {number:02}" for number in range(12)]


def test_unsent_message_keeps_its_html(smtp, settings):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    smtp.answers["END OF DATA"] = "451 later"
    notify(laid_out("1"))
    work()
    message = OutboxMessage.objects.get()
    assert (message.status, message.html) == ("waiting", "<table><tr><td>All")


def test_apprise_channel_whose_stored_url_is_refused_is_disabled_and_found():
    urls = ["json://127.0.0.1", "syslog://", "discord://1/K4NARI?template=/etc/hostname", "json://127.0.0.1"]
    rows = [
        NotificationChannel.objects.create(name=str(n), kind="apprise", secret=encrypt(url))
        for n, url in enumerate(urls)
    ]
    NotificationChannel.objects.filter(pk=rows[3].pk).update(secret="nothing that a key can read")
    for _ in range(2):
        disable_unusable_channels()
    found = list(disabled_channels(timezone.now()))
    disabled = ChannelState.objects.exclude(disabled_at=None).values_list("channel", flat=True)
    assert set(disabled) == {rows[1].key, rows[2].key}
    assert len(found) == AuditEvent.objects.filter(action="channel.disabled").count() == 2
    assert "template" in state(rows[2].key).disabled_reason
    assert "K4NARI" not in state(rows[2].key).disabled_reason


def test_webhook_refused_for_its_private_address_works_once_the_setting_allows_it(settings):
    settings.PROBE_ALLOW_PRIVATE = False
    with receiver.Receiver() as hook:
        row = NotificationChannel.objects.create(
            name="Hook", kind="webhook", addresses=hook.url, secret=encrypt("K4NARI")
        )
        notify_of("A")
        deliver(row.key)
        assert "PROBE_ALLOW_PRIVATE" in state(row.key).disabled_reason
        assert statuses() == ["waiting"]
        settings.PROBE_ALLOW_PRIVATE = True
        deliver(row.key)
        assert (len(hook.requests), statuses()) == (1, ["sent"])
