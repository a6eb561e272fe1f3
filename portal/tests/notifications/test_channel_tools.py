"""What the form of a channel calls before it is saved: a test message, and the chats of a Telegram bot."""

import pytest
from django.contrib.auth.models import Group, User

from portal.access.roles import VIEWER, synchronise_roles
from portal.base.encryption import encrypt
from portal.desk.call_limits import CALLS_PER_MINUTE
from portal.models import AuditEvent, ChannelState, NotificationChannel
from portal.tests.helpers.receiver import TOKEN, Receiver, refusal

pytestmark = pytest.mark.django_db
LIST = "/admin/portal/notificationchannel/"
GROUP = {"id": -100, "title": "Ops <b>", "type": "supergroup"}
UPDATES = [
    {"update_id": 1, "message": {"chat": {"id": 42, "first_name": "Ada", "last_name": "L"}}},
    {"update_id": 2, "my_chat_member": {"chat": GROUP}},
    {"update_id": 3, "message": {"chat": GROUP, "is_topic_message": True, "message_thread_id": 7}},
    {"update_id": 4, "channel_post": {"chat": {"id": -200, "username": "news"}}},
    {"update_id": 5, "message": {"chat": GROUP}, "poll": {"id": "1"}, "nonsense": [1]},
]


@pytest.fixture
def channel():
    return NotificationChannel.objects.create(name="Ops", kind="telegram", addresses="-100", secret=encrypt(TOKEN))


@pytest.fixture
def call(admin_client):
    """Press a button of the form and return the status and the answer."""

    def calling(tool, query="", **fields):
        response = admin_client.post(f"{LIST}{tool}/{query}", fields)
        assert "K4NARI" not in response.content.decode()
        return response.status_code, response.json()

    return calling


# --- A test message --------------------------------------------------------------------------------------------------


def test_unsaved_channel_sends_a_test_and_stores_nothing(call, api):
    status, answer = call("test", kind="telegram", chat_id="-100", bot_token=TOKEN)
    assert (status, [result["ok"] for result in answer["results"]]) == (200, [True])
    assert len(api.accepted) == 1
    assert not NotificationChannel.objects.exists()
    assert not ChannelState.objects.exists()
    event = AuditEvent.objects.get(action="channel.tested")
    assert (event.subject, event.after["sent"], event.after["failed"]) == ("channel:new", 1, 0)
    assert "K4NARI" not in str(event.after)


def test_failed_test_of_an_unsaved_channel_says_why(call, api):
    api.script.append(refusal(403, "Forbidden: bot was kicked"))
    _status, answer = call("test", kind="telegram", chat_id="-100", bot_token=TOKEN)
    (result,) = answer["results"]
    assert not result["ok"]
    assert "Forbidden: bot was kicked" in result["text"]


def test_webhook_is_tested_with_its_signature(call, settings):
    settings.PROBE_ALLOW_PRIVATE = True
    with Receiver() as receiver:
        assert call("test", kind="webhook", url=receiver.url, signing_key="K4NARI" * 3)[1]["results"][0]["ok"]
        assert receiver.requests[0][1]["X-Vigie-Signature"].startswith("t=")


def test_private_address_is_not_called(call, settings):
    settings.PROBE_ALLOW_PRIVATE = False
    with Receiver() as receiver:
        address = receiver.url.replace("127.0.0.1", "localhost")
        _status, answer = call("test", kind="webhook", url=address, signing_key="K4NARI" * 3)
        assert [result["ok"] for result in answer["results"]] == [False]
        assert receiver.requests == []


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"kind": "webhook", "url": "ftp://x"}, 2),
        ({"kind": "telegram"}, 2),
        ({"kind": "pigeon"}, 1),
        ({}, 1),
    ],
)
def test_incomplete_form_is_not_tested(call, fields, problems):
    status, answer = call("test", **fields)
    assert (status, len(answer["errors"])) == (200, problems)
    assert not AuditEvent.objects.filter(action="channel.tested").exists()


def test_changed_channel_is_tested_with_its_stored_secret_and_stays_as_it_was(call, api, channel):
    _status, answer = call("test", f"?channel={channel.pk}", name="Other", chat_id="-999", bot_token="")
    assert answer["results"][0]["ok"]
    assert api.accepted[0]["chat_id"] == "-999"
    stored = NotificationChannel.objects.get()
    assert (stored.name, stored.addresses, stored.secret) == ("Ops", "-100", channel.secret)


# --- Chats -----------------------------------------------------------------------------------------------------------


def test_chats_of_the_bot_are_listed_latest_first(call, api):
    api.script.append((200, {"ok": True, "result": UPDATES}))
    _status, answer = call("chats", kind="telegram", bot_token=TOKEN)
    assert [(chat["id"], chat["name"]) for chat in answer["chats"]] == [
        ("-100", "Ops <b>"), ("-200", "news"), ("-100/7", "Ops <b>"), ("42", "Ada L"),
    ]  # fmt: skip
    assert api.requests[0][0] == f"/bot{TOKEN}/getUpdates"


def test_chats_are_found_with_the_stored_token(call, api, channel):
    api.script.append((200, {"ok": True, "result": UPDATES}))
    assert len(call("chats", f"?channel={channel.pk}")[1]["chats"]) == 4


@pytest.mark.parametrize("result", [[], "none", [1, {"message": {"chat": {"id": "x"}}}]])
def test_bot_without_chats_is_explained(call, api, result):
    api.script.append((200, {"ok": True, "result": result}))
    assert len(call("chats", kind="telegram", bot_token=TOKEN)[1]["errors"]) == 1


def test_refused_token_is_reported(call, api):
    api.script.append(refusal(401, "Unauthorized"))
    (problem,) = call("chats", kind="telegram", bot_token=TOKEN)[1]["errors"]
    assert "401" in problem


def test_malformed_token_is_not_sent(call, api):
    assert len(call("chats", kind="telegram", bot_token="nonsense")[1]["errors"]) == 1
    assert api.requests == []


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_calls_of_a_user_are_limited(call, api):
    for _number in range(CALLS_PER_MINUTE):
        assert call("test", kind="telegram", chat_id="-100", bot_token=TOKEN)[0] == 200
    status, answer = call("chats", kind="telegram", bot_token=TOKEN)
    assert (status, answer["code"]) == (429, "throttled")
    assert answer["errors"] == ["Too many tests. Wait a minute, then try again."]
    assert len(api.requests) == CALLS_PER_MINUTE


@pytest.mark.django_db(transaction=True)
def test_tests_of_saved_channels_count_among_the_calls_of_a_user(admin_client, channel, api):
    chosen = {"action": "send_test", "_selected_action": channel.pk}
    for _number in range(CALLS_PER_MINUTE + 2):
        response = admin_client.post(LIST, chosen, follow=True)
    assert "Too many tests. Wait a minute, then try again." in response.content.decode()
    assert len(api.requests) == CALLS_PER_MINUTE


def test_channel_of_the_environment_is_not_edited(admin_client, channel):
    NotificationChannel.objects.update(environment_key="telegram")
    assert admin_client.post(f"{LIST}test/?channel={channel.pk}").status_code == 403
    assert admin_client.post(f"{LIST}test/?channel=0").status_code == 404


def test_viewer_calls_nothing(client, channel):
    synchronise_roles()
    user = User.objects.create_user("viewer", is_staff=True)
    user.groups.add(Group.objects.get(name=VIEWER))
    client.force_login(user)
    for tool in ("test/", "chats/", f"test/?channel={channel.pk}"):
        assert client.post(LIST + tool).status_code == 403


# --- The page --------------------------------------------------------------------------------------------------------


def test_fields_of_each_kind_are_marked_as_required(admin_client):
    form = admin_client.get(f"{LIST}add/").context["adminform"].form
    assert all(form.fields[name].required for names in form.FIELDS.values() for name in names)


def test_stored_secret_is_not_required(admin_client, channel):
    form = admin_client.get(f"{LIST}{channel.pk}/change/").context["adminform"].form
    assert not form.fields["bot_token"].required


def test_saving_stays_on_the_page_of_the_channel(admin_client, channel):
    fields = {"name": "New", "min_severity": "3", "is_active": "on"}
    added = admin_client.post(f"{LIST}add/", fields | {"kind": "email", "recipients": "a@example.org"})
    assert added.url == f"{LIST}{NotificationChannel.objects.get(name='New').pk}/change/"
    changed = admin_client.post(f"{LIST}{channel.pk}/change/", fields | {"name": "Ops 2", "chat_id": "-100"})
    assert changed.url == f"{LIST}{channel.pk}/change/"
