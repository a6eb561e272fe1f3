"""The admin of channels and messages: secrets, tests, re-enabling and the audit log."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from portal.access.roles import VIEWER, synchronise_roles
from portal.audit import HIDDEN
from portal.base.encryption import decrypt, encrypt
from portal.models import AuditEvent, ChannelState, NotificationChannel, OutboxMessage
from portal.notifications import selftest, states
from portal.notifications.channels import base
from portal.notifications.channels.base import DeliveryError
from portal.notifications.configuration import recipients_of, synchronise_environment_channels
from portal.notifications.forms import ChannelForm
from portal.tests.helpers.receiver import TOKEN, Receiver, refusal

pytestmark = pytest.mark.django_db
LIST = "/admin/portal/notificationchannel/"
OUTBOX = "/admin/portal/outboxmessage/"
# Callbacks on commit run within the request only if the test has no transaction of its own.
WITH_TRANSACTIONS = pytest.mark.django_db(transaction=True)
GENERAL = {"name": "C", "min_severity": "3", "is_active": "on"}


@pytest.fixture
def telegram(api, settings):
    """The channel that the environment defines."""
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = TOKEN, "-100"
    synchronise_environment_channels()
    return NotificationChannel.objects.get()


@pytest.fixture
def channel():
    return NotificationChannel.objects.create(name="Ops", kind="telegram", addresses="-100", secret=encrypt(TOKEN))


@pytest.fixture
def message(channel):
    return OutboxMessage.objects.create(
        channel=channel.key, recipient="-100", subject="backup:7", severity=1, title="Late", text="<b>X</b>",
        dedupe_key="k", created_at=timezone.now(),
    )  # fmt: skip


@pytest.fixture
def add(admin_client):
    """Submit the form of a new channel and return the errors of its fields."""

    def adding(**fields):
        response = admin_client.post(f"{LIST}add/", GENERAL | fields)
        assert "K4NARI" not in response.content.decode()
        return {} if response.status_code == 302 else response.context["adminform"].form.errors

    return adding


@pytest.fixture
def act(admin_client):
    """Press a button on a row's page and return the messages of the next page."""

    def acting(row, action):
        name = f"admin:portal_{row._meta.model_name}_act"
        response = admin_client.post(reverse(name, args=[row.pk, action]), {"confirmed": "yes"})
        assert response.status_code == 302
        return messages_of(admin_client.get(response.url))

    return acting


@pytest.fixture
def send_test(admin_client):
    """Send a test from the list of channels and return the messages of the next page."""

    def sending(*channels):
        chosen = {"action": "send_test", "_selected_action": [channel.pk for channel in channels]}
        return messages_of(admin_client.post(LIST, chosen, follow=True))

    return sending


def messages_of(response):
    assert "K4NARI" not in response.content.decode()
    return [str(message) for message in response.context["messages"]]


def page(admin_client, row):
    return admin_client.get(reverse(f"admin:portal_{row._meta.model_name}_change", args=[row.pk])).content.decode()


# --- The form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "addresses", "secret"),
    [
        ({"kind": "email", "recipients": "a@example.org, b@example.org;a@example.org"}, "a@example.org\nb@example.org", ""),
        ({"kind": "telegram", "chat_id": " -1001234 ", "bot_token": TOKEN}, "-1001234", TOKEN),
        ({"kind": "telegram", "chat_id": "-1001234/7", "bot_token": TOKEN}, "-1001234/7", TOKEN),
        ({"kind": "telegram", "chat_id": "@news_of_ours", "bot_token": TOKEN}, "@news_of_ours", TOKEN),
        ({"kind": "webhook", "url": "https://example.org/hook?x=1", "signing_key": "K4NARI of 16 or more"}, "https://example.org/hook?x=1", "K4NARI of 16 or more"),
        ({"kind": "apprise", "apprise_url": "json://bob:K4NARI@localhost"}, "", "json://bob:K4NARI@localhost"),
        ({"kind": "email", "recipients": "a@example.org", "bot_token": "K4NARI", "url": "x"}, "a@example.org", ""),
    ],
)  # fmt: skip
def test_channel_of_each_kind_can_be_added(add, fields, addresses, secret):
    assert add(**fields) == {}
    channel = NotificationChannel.objects.get()
    assert channel.addresses == addresses
    assert (decrypt(channel.secret) if channel.secret else "") == secret
    assert "K4NARI" not in channel.secret
    assert recipients_of(channel)


@pytest.mark.one_database("forms")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "email"}, "recipients"),
        ({"kind": "email", "recipients": "a@example.org nobody"}, "recipients"),
        ({"kind": "email", "recipients": "a@example.org\nBcc: eve@example.org"}, "recipients"),
        ({"kind": "email", "recipients": " ".join(f"a{n}@example.org" for n in range(51))}, "recipients"),
        ({"kind": "email", "recipients": f"a@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'q' * 60}.{'w' * 60}.org"}, "recipients"),
        ({"kind": "telegram", "bot_token": TOKEN}, "chat_id"),
        ({"kind": "telegram", "chat_id": "-100/general", "bot_token": TOKEN}, "chat_id"),
        ({"kind": "telegram", "chat_id": "my chat", "bot_token": TOKEN}, "chat_id"),
        ({"kind": "telegram", "chat_id": "-100"}, "bot_token"),
        ({"kind": "telegram", "chat_id": "-100", "bot_token": "K4NARI"}, "bot_token"),
        ({"kind": "webhook", "url": "ftp://example.org", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://[", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://x:99999/", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://a b/", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://bob:pw@example.org", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": f"https://example.org/{'x' * 300}", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "https://example.org", "signing_key": "K4NARI"}, "signing_key"),
        ({"kind": "webhook", "url": "https://a..example.org/", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "http://169.254.169.254/", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "webhook", "url": "http://[::ffff:169.254.169.254]/", "signing_key": "K4NARI" * 3}, "url"),
        ({"kind": "apprise"}, "apprise_url"),
        ({"kind": "apprise", "apprise_url": "discord://1/K4NARI?template=/etc/hostname"}, "apprise_url"),
        ({"kind": "apprise", "apprise_url": f"json://localhost/{'x' * 2_000}"}, "apprise_url"),
        ({"kind": "apprise", "apprise_url": "syslog://K4NARI"}, "apprise_url"),
        ({"kind": "apprise", "apprise_url": "nonsense://K4NARI"}, "apprise_url"),
        ({"kind": "pigeon"}, "kind"),
    ],
)  # fmt: skip
def test_invalid_value_is_refused_beside_its_field(add, fields, field):
    assert list(add(**fields)) == [field]
    assert not NotificationChannel.objects.exists()


def test_stored_secret_is_never_shown(admin_client, channel):
    form = page(admin_client, channel)
    assert "K4NARI" not in form
    assert channel.secret not in form
    assert "A value is stored" in form
    assert 'name="chat_id" value="-100"' in form
    for path in (LIST, f"{LIST}export/", f"{LIST}{channel.pk}/history/"):
        content = b"".join(admin_client.get(path)).decode()
        assert "Ops" in content
        assert not {"K4NARI", channel.secret} & set(content.split())


def test_empty_field_keeps_the_secret_and_a_value_replaces_it(admin_client, channel):
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"chat_id": "-200", "bot_token": ""})
    channel.refresh_from_db()
    assert (channel.addresses, decrypt(channel.secret)) == ("-200", TOKEN)
    admin_client.post(url, GENERAL | {"chat_id": "-200", "bot_token": TOKEN + "1"})
    channel.refresh_from_db()
    assert decrypt(channel.secret) == TOKEN + "1"


def test_saved_name_keeps_what_a_colleague_changed_meanwhile(admin_client, channel, monkeypatch):
    validate = ChannelForm.clean

    def clean(form):
        NotificationChannel.objects.update(is_active=False, addresses="-300")
        return validate(form)

    monkeypatch.setattr(ChannelForm, "clean", clean)
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"name": "Other", "chat_id": "-100"})
    channel.refresh_from_db()
    assert (channel.name, channel.is_active, channel.addresses) == ("Other", False, "-300")


def test_kind_of_a_channel_cannot_be_changed(admin_client, channel):
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"kind": "webhook", "chat_id": "-200"})
    channel.refresh_from_db()
    assert (channel.kind, channel.addresses) == ("telegram", "-200")


def test_disabled_channel_is_enabled_by_a_new_chat(admin_client, channel):
    ChannelState.objects.create(channel=channel.key, disabled_at=timezone.now(), disabled_reason="403", failures=3)
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"chat_id": "-200"})
    state = ChannelState.objects.get()
    assert (state.disabled_at, state.failures, state.disabled_reason) == (None, 0, "")


@pytest.mark.parametrize(("name", "is_disabled"), [("Renamed", False), ("Ops", True)])
def test_disabled_channel_is_enabled_by_saving_any_change(admin_client, channel, name, is_disabled):
    states.synchronise_states([channel])
    ChannelState.objects.update(disabled_at=timezone.now())
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"name": name, "chat_id": channel.addresses})
    assert (ChannelState.objects.get().disabled_at is not None) == is_disabled


def test_actions_of_operators_are_audited_without_secrets(add, admin_client, act):
    add(kind="telegram", chat_id="-100", bot_token=TOKEN)
    channel = NotificationChannel.objects.get()
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    admin_client.post(url, GENERAL | {"chat_id": "-100", "bot_token": TOKEN + "1"})
    act(channel, "deactivate")
    admin_client.post(reverse("admin:portal_notificationchannel_delete", args=[channel.pk]), {"post": "yes"})
    events = AuditEvent.objects.filter(subject=f"channel:{channel.pk}").order_by("pk")
    assert [event.action for event in events] == [
        "channel.added",
        "channel.changed",
        "channel.deactivated",
        "channel.deleted",
    ]
    assert events[1].after == {"bot_token": HIDDEN}
    assert {event.actor for event in events} == {"user:admin"}
    kept = [repr(row) for model in (AuditEvent, LogEntry) for row in model.objects.values_list()]
    assert not [row for row in kept if "K4NARI" in row]


def test_ignored_field_of_another_kind_is_not_in_the_audit_log(add):
    add(kind="webhook", url="https://example.org/hook", signing_key="0123456789abcdef", recipients="a@example.org")
    assert AuditEvent.objects.get(action="channel.added").after == {
        "name": "C", "kind": "webhook", "url": "https://example.org/hook", "signing_key": HIDDEN,
    }  # fmt: skip


def test_waiting_messages_of_a_deleted_channel_are_given_up(admin_client, channel, message):
    ChannelState.objects.create(channel=channel.key)
    data = {"action": "delete_selected", "_selected_action": [channel.pk], "post": "yes"}
    admin_client.post(LIST, data)
    message.refresh_from_db()
    assert (message.status, message.error) == ("given_up", "Channel deleted.")
    assert not ChannelState.objects.exists()
    assert admin_client.get(OUTBOX).status_code == 200


# --- State -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_active", "state", "word"),
    [
        (True, None, "not used yet"),
        (True, {}, "not used yet"),
        (True, {"last_success_at": timezone.now()}, "working"),
        (True, {"failures": 2, "last_success_at": timezone.now(), "last_error": "Oops"}, "failing"),
        (True, {"failures": 2, "disabled_at": timezone.now(), "disabled_reason": "Oops"}, "disabled after an error"),
        (False, {"failures": 2, "disabled_at": timezone.now()}, "disabled"),
    ],
)
def test_list_shows_the_state_of_a_channel(admin_client, channel, message, is_active, state, word):
    NotificationChannel.objects.update(is_active=is_active)
    if state is not None:
        ChannelState.objects.create(channel=channel.key, **state)
    content = admin_client.get(LIST).content.decode()
    assert f">{word}</span>" in content
    assert '<td class="field-waiting">1</td>' in content
    assert ("Oops" in content) == ("Oops" in str(state))
    assert f">{word}</span>" in page(admin_client, channel)


def test_viewer_sees_no_form_and_no_buttons(client, channel):
    synchronise_roles()
    user = User.objects.create_user("vic", is_staff=True)
    user.groups.add(Group.objects.get(name=VIEWER))
    client.force_login(user)
    content = page(client, channel)
    assert "-100" in content
    assert (
        re.findall(r'<(?:input|select|textarea|button)(?! type="hidden").*>', content.partition('id="content-main"')[2])
        == []
    )
    assert (
        client.post(reverse("admin:portal_notificationchannel_act", args=[channel.pk, "send_test"])).status_code == 403
    )


# --- Tests and re-enabling -------------------------------------------------------------------------------------------


@WITH_TRANSACTIONS
def test_test_message_is_sent_at_once_and_reported(send_test, api, channel):
    ChannelState.objects.create(channel=channel.key)
    assert send_test(channel) == ["Test sent to -100."]
    assert "Test notification from Vigie" in api.texts[0]
    assert ChannelState.objects.get().last_success_at
    assert AuditEvent.objects.get(action="channel.tested").after == {"sent": 1, "failed": 0, "error": ""}
    assert not AuditEvent.objects.filter(action="admin.action").exists()


@WITH_TRANSACTIONS
def test_failed_test_message_is_reported_with_its_reason(send_test, api, channel):
    api.script = [refusal(403, f"Forbidden: bot {TOKEN} was kicked")]
    (text,) = send_test(channel)
    assert text == "Test to -100 failed: Telegram answered 403: “Forbidden: bot … was kicked”"
    assert AuditEvent.objects.get(action="channel.tested").after["failed"] == 1


def test_test_message_is_sent_outside_transactions(act, send_test, transactional_db, telegram, channel, monkeypatch):
    inside = []
    monkeypatch.setattr(selftest, "send", lambda *args: inside.append(connection.in_atomic_block))
    act(telegram, "send_test")
    send_test(channel)
    assert inside == [False, False]


def test_page_of_a_channel_has_one_button_that_sends_a_test(admin_client, channel):
    assert page(admin_client, channel).count(">Send a test<") == 1


def test_test_message_goes_to_each_recipient_within_the_time_limit(monkeypatch):
    team = NotificationChannel.objects.create(name="T", kind="email", addresses="a@example.org\nb@example.org")
    monkeypatch.setattr(base, "SEND_SECONDS", 0.0)
    assert [outcome.error for outcome in selftest.send_test_messages(team)] == [
        "Not sent: the time limit was reached."
    ] * 2
    monkeypatch.undo()

    def send(channel, outgoing, seconds):
        if outgoing.address == "a@example.org":
            raise DeliveryError("550")

    monkeypatch.setattr(selftest, "send", send)
    assert [outcome.error for outcome in selftest.send_test_messages(team)] == ["550", ""]


def test_only_a_few_channels_are_tested_at_once(send_test, monkeypatch, django_capture_on_commit_callbacks):
    tested = []
    monkeypatch.setattr(selftest, "send", lambda *args: tested.append(args))
    channels = [
        NotificationChannel.objects.create(name=str(number), kind="email", addresses="a@example.org")
        for number in range(5)
    ]
    with django_capture_on_commit_callbacks(execute=True):
        send_test(*channels)
    assert len(tested) == 3


def test_disabled_channel_is_enabled_by_the_action(act, channel):
    ChannelState.objects.create(channel=channel.key, disabled_at=timezone.now(), disabled_reason="403", failures=3)
    assert act(channel, "enable_again") == ["1 channel re-enabled."]
    assert ChannelState.objects.get().disabled_at is None
    assert AuditEvent.objects.get(action="channel.enabled").actor == "user:admin"


def test_channel_is_switched_off_and_on(act, channel):
    assert act(channel, "deactivate") == ["1 channel disabled."]
    assert not NotificationChannel.objects.get().is_active
    assert act(channel, "activate") == ["1 channel enabled."]
    assert NotificationChannel.objects.get().is_active


# --- Channels of the environment -------------------------------------------------------------------------------------


def test_environment_channel_is_listed_without_its_token(admin_client, telegram):
    ChannelState.objects.create(channel="telegram", disabled_at=timezone.now(), disabled_reason="Telegram answered 403")
    for content in (admin_client.get(LIST).content.decode(), page(admin_client, telegram)):
        for words in (">Telegram<", ">disabled after an error</span>", "Telegram answered 403"):
            assert words in content
        assert "K4NARI" not in content


def test_page_of_environment_channel_names_its_settings_and_recipients(admin_client, telegram):
    content = page(admin_client, telegram)
    for words in ("Configured by TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID", "-100", "/act/send_test/"):
        assert words in content
    assert "/act/deactivate/" not in content
    assert 'name="_save"' not in content


@pytest.mark.parametrize("path", ["change", "delete"])
def test_environment_channel_cannot_be_changed_or_deleted(admin_client, telegram, path):
    url = reverse(f"admin:portal_notificationchannel_{path}", args=[telegram.pk])
    assert admin_client.post(url, GENERAL | {"post": "yes", "chat_id": "-200"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [telegram.pk], "post": "yes"}
    assert admin_client.post(LIST, data).status_code == 403
    telegram.refresh_from_db()
    assert (telegram.name, telegram.addresses) == ("Telegram", "")


def test_environment_channel_cannot_be_switched_off(admin_client, act, telegram):
    act(telegram, "deactivate")
    admin_client.post(LIST, {"action": "deactivate", "_selected_action": [telegram.pk], "confirmed": "yes"})
    telegram.refresh_from_db()
    assert telegram.is_active


@WITH_TRANSACTIONS
def test_environment_channel_is_tested_and_enabled_like_the_others(act, telegram):
    ChannelState.objects.create(channel="telegram", disabled_at=timezone.now(), disabled_reason="403")
    assert act(telegram, "send_test") == ["Test sent to -100."]
    assert act(telegram, "enable_again") == ["1 channel re-enabled."]
    assert ChannelState.objects.get().disabled_at is None
    events = AuditEvent.objects.filter(subject="channel:telegram").exclude(actor="system").order_by("pk")
    assert [event.action for event in events] == ["channel.tested", "channel.enabled"]


@WITH_TRANSACTIONS
def test_guardian_mail_is_tested_like_the_others(act, settings, mailoutbox):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org", "h@example.org"]
    synchronise_environment_channels()
    act(NotificationChannel.objects.get(), "send_test")
    assert [mail.to for mail in mailoutbox] == [["g@example.org"], ["h@example.org"]]


# --- Messages --------------------------------------------------------------------------------------------------------


def test_list_of_messages_shows_recipient_and_status(admin_client, message, channel):
    content = admin_client.get(OUTBOX).content.decode()
    for words in ("Late", "waiting", "critical", "Ops"):
        assert words in content
    OutboxMessage.objects.update(recipient="bob@example.org")
    assert "bob@example.org" in admin_client.get(OUTBOX).content.decode()
    assert "&lt;b&gt;X&lt;/b&gt;" in page(admin_client, message)


@pytest.mark.parametrize("status", ["waiting", "failed", "given_up"])
def test_message_is_retried_past_every_pause(act, message, channel, status):
    later = timezone.now() + timedelta(hours=1)
    OutboxMessage.objects.update(status=status, error="550", finished_at=timezone.now())
    other = OutboxMessage.objects.create(
        channel=channel.key, recipient="-100", subject="s", severity=1, title="T", dedupe_key="o",
        created_at=timezone.now(), next_attempt_at=later,
    )  # fmt: skip
    ChannelState.objects.create(channel=channel.key, next_attempt_at=later)
    assert act(message, "try_now") == ["Retrying 1 message."]
    message.refresh_from_db()
    other.refresh_from_db()
    assert (message.status, message.error, message.finished_at, other.next_attempt_at) == ("waiting", "", None, None)
    assert ChannelState.objects.get().next_attempt_at is None
    assert OrmQ.objects.count() == 1


def test_retry_by_a_disabled_channel_warns(act, message, channel):
    ChannelState.objects.create(channel=channel.key, disabled_at=timezone.now())
    assert "re-enable it" in act(message, "try_now")[1]
    assert ChannelState.objects.get().disabled_at


def test_sent_message_is_not_retried(act, admin_client, message):
    OutboxMessage.objects.update(status="sent", finished_at=timezone.now())
    assert "try_now" not in page(admin_client, message)
    assert act(message, "try_now") == []
    admin_client.post(OUTBOX, {"action": "try_now", "_selected_action": [message.pk]})
    admin_client.post(OUTBOX, {"action": "give_up", "_selected_action": [message.pk]})
    assert OutboxMessage.objects.get().status == "sent"
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("status", ["waiting", "failed"])
def test_message_is_given_up_by_the_action(act, message, status):
    OutboxMessage.objects.update(status=status)
    assert act(message, "give_up") == ["1 message discarded."]
    assert OutboxMessage.objects.get().status == "given_up"
    assert AuditEvent.objects.get(action="admin.action").after["action"] == "give_up"


@WITH_TRANSACTIONS
def test_webhook_is_tested_from_the_list(send_test):
    with Receiver() as receiver:
        hook = NotificationChannel.objects.create(
            name="H", kind="webhook", addresses=receiver.url, secret=encrypt("K4NARI" * 3)
        )
        assert send_test(hook) == [f"Test sent to {receiver.url}."]
        assert receiver.bodies[0]["title"] == "Test notification from Vigie"
