"""manage.py issue_token."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.models import Agent
from portal.access.tokens import credential
from portal.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db


def issued(*arguments):
    output = StringIO()
    call_command("issue_token", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("kind", ["enroll", "client"])
def test_stdout_is_the_token_alone(kind):
    printed = issued("--kind", kind, "--label", "setup")
    assert credential.parse_token(printed.removesuffix("\n")).kind == kind
    assert (ApiToken.objects.get().label, ApiToken.objects.get().max_uses) == ("setup", None)
    assert AuditEvent.objects.get().actor == "command line"


def test_staff_token_acts_for_its_user(call):
    User.objects.create_superuser("alice")
    assert call("GET", "agents/fleet", issued("--kind", "staff", "--user", "alice").strip()).status_code == 200


def test_agent_token_belongs_to_its_machine(call, agent):
    assert call("GET", "agents/PC-1", issued("--kind", "agent", "--machine", "PC-1").strip()).status_code == 200


def test_unknown_machine_is_enrolled(call):
    assert call("POST", "agents/heartbeat", issued("--kind", "agent", "--machine", "PC-9").strip()).status_code == 200
    assert Agent.objects.get().machine_id == "PC-9"


def test_limits_and_scope_are_stored():
    issued("--kind", "enroll", "--max-uses", "3", "--expires-in", "24h", "--scope", "uninstall")
    token = ApiToken.objects.get()
    assert (token.max_uses, token.scopes) == (3, ["uninstall"])
    assert 86_000 < (token.expires_at - timezone.now()).total_seconds() <= 86_400


def test_token_is_bound_to_applications():
    issued("--kind", "client", "--app", "gui_v6", "--app", " batch ", "--app", "batch")
    assert ApiToken.objects.get().app_names == ["gui_v6", "batch"]
    assert AuditEvent.objects.get().after["app_names"] == ["gui_v6", "batch"]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "arguments",
    ["--kind client --app a/b", "--kind client --machine PC-1", "--kind agent --machine PC-1 --app gui",
     "--kind client --app vigie_client_0123456789ab_secret", "--kind enroll --machine ../x", "--kind root", "--kind staff", "--kind staff --user nobody", "--kind staff --user sam", "--kind agent", "--kind agent --machine ../x", "--kind client --max-uses 3",
     "--kind enroll --expires-in 999999999d", "--kind client --label " + "x" * 129, "--kind client --label vigie_client_0123456789ab_secret",
     "--kind enroll --expires-in soon", "--kind enroll --expires-in 0", "--kind enroll --max-uses 0", "--kind enroll --scope root", "--kind client --user alice"],
)  # fmt: skip
def test_invalid_options_are_refused(arguments):
    User.objects.create_user("sam")
    with pytest.raises(CommandError):
        issued(*arguments.split())
    assert not ApiToken.objects.exists()


def test_uninstalled_machine_gets_no_token(make_agent):
    make_agent(status="uninstalled")
    with pytest.raises(CommandError, match="uninstalled"):
        issued("--kind", "agent", "--machine", "PC-1")
