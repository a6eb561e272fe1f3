"""Names of machines are case-insensitive, and keep the spelling of the first enrolment."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.findings import shared_names
from agents.models import Agent
from portal.access.tokens.issuing import issue_token

pytestmark = pytest.mark.django_db
MINE = "PC-Lyon-07"
SPELLINGS = ("PC-Lyon-07", "pc-lyon-07", "PC-LYON-07", "pC-lYoN-07")


@pytest.fixture
def agent(make_agent):
    return make_agent(MINE, user_name="Alice", version="6.0.3")


@pytest.fixture
def pair(make_agent):
    """Create two machines from the time of case-sensitive names. The first owns the name."""
    return make_agent("PC-1"), make_agent("pc-1", owns_name=False)


@pytest.mark.parametrize("spelling", SPELLINGS)
class TestCaseInsensitiveNames:
    def test_enrolment_of_an_active_machine_is_409(self, call, agent, enroll_token, spelling):
        answer = call("POST", "agents/enroll", enroll_token, machine_id=spelling)
        assert (answer.status_code, answer.json()["code"]) == (409, "agent_already_active")
        assert answer.json()["agent"]["machine_id"] == MINE
        assert Agent.objects.count() == 1

    def test_return_keeps_the_spelling_first_given(self, call, agent, enroll_token, staff_token, spelling):
        assert call("POST", "agents/uninstall", staff_token, machine_id=spelling).json()["machine_id"] == MINE
        answer = call("POST", "agents/enroll", enroll_token, machine_id=spelling)
        assert (answer.json()["status"], answer.json()["machine_id"]) == ("reactivated", MINE)

    def test_own_token_renews_reads_and_uninstalls(self, call, agent_token, spelling):
        renewed = call("POST", "agents/enroll", agent_token, machine_id=spelling)
        assert (renewed.status_code, renewed.json()["machine_id"]) == (201, MINE)
        assert call("GET", f"agents/{spelling}", agent_token).json()["agent"]["machine_id"] == MINE
        answer = call("POST", "agents/uninstall", agent_token, machine_id=spelling)
        assert (answer.status_code, answer.json()["machine_id"]) == (200, MINE)

    def test_staff_find_the_machine(self, call, agent, staff_token, spelling):
        assert call("GET", f"agents/{spelling}", staff_token).json()["agent"]["machine_id"] == MINE
        assert len(call("GET", "agents/fleet", staff_token, search=spelling).json()["active"]) == 1

    def test_admin_search_finds_the_machine(self, admin_client, agent, make_agent, spelling):
        make_agent("PC-Nice-06")
        page = admin_client.get("/admin/agents/agent/", {"q": spelling}).content.decode()
        assert MINE in page
        assert "PC-Nice-06" not in page

    def test_issue_token_speaks_for_the_machine(self, call, agent, capsys, spelling):
        call_command("issue_token", "--kind", "agent", "--machine", spelling)
        token = capsys.readouterr().out.strip()
        assert call("GET", f"agents/{spelling}", token).json()["agent"]["machine_id"] == MINE
        assert Agent.objects.count() == 1


@pytest.mark.parametrize("name", [{}, {"machine_id": None}])
def test_own_token_needs_no_name(call, agent, agent_token, name):
    renewed = call("POST", "agents/enroll", agent_token, version="7", **name)
    assert (renewed.status_code, renewed.json()["machine_id"], renewed.json()["agent"]["version"]) == (201, MINE, "7")
    answer = call("POST", "agents/uninstall", agent_token, **name)
    assert (answer.status_code, answer.json()["machine_id"]) == (200, MINE)
    assert call("POST", "agents/uninstall", agent_token).status_code == 200


@pytest.mark.parametrize("path", ["agents/enroll", "agents/uninstall"])
def test_enrolment_token_without_a_name_is_400(call, path):
    answer = call("POST", path, issue_token("enroll", scopes=["uninstall"])[1])
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "required")


class TestPairOfSpellings:
    def test_name_belongs_to_its_owner(self, call, pair, staff_token):
        for spelling in ("PC-1", "pc-1"):
            assert call("GET", f"agents/{spelling}", staff_token).json()["agent"]["machine_id"] == "PC-1"

    def test_other_machine_keeps_its_token(self, call, pair):
        token = issue_agent_token(pair[1])
        assert call("POST", "agents/heartbeat", token).status_code == 200
        assert call("POST", "agents/enroll", token, machine_id="PC-1").json()["machine_id"] == "pc-1"
        assert call("POST", "agents/uninstall", token).json()["machine_id"] == "pc-1"
        assert Agent.objects.get(machine_id="PC-1").is_active

    def test_pair_is_a_finding_until_one_is_uninstalled(self, pair):
        (finding,) = shared_names(timezone.now())
        assert "PC-1" in finding.text
        assert finding.url.endswith(f"/{pair[1].pk}/change/")
        Agent.objects.filter(pk=pair[1].pk).update(status="uninstalled")
        assert not list(shared_names(timezone.now()))

    def test_active_machine_inherits_the_name(self, call, pair, staff_token):
        assert call("POST", "agents/uninstall", staff_token, machine_id="pc-1").json()["machine_id"] == "PC-1"
        assert call("GET", "agents/PC-1", staff_token).json()["agent"]["machine_id"] == "pc-1"
        assert not list(shared_names(timezone.now()))


def test_upgrade_gives_the_name_to_the_active_machine_else_to_the_newest(make_agent):
    """The function of the migration runs on today's table, without the index that it prepares."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_agent_per_name")  # until the end of the test's transaction
    now = timezone.now()
    for letter, first, second in (
        ("a", "active", "uninstalled"),
        ("b", "uninstalled", "active"),
        ("c", "active", "active"),
        ("d", "uninstalled", "uninstalled"),
    ):
        for name, status, enrolled_at in ((letter.upper(), first, now - timedelta(days=9)), (letter, second, now)):
            make_agent(name, status=status, enrolled_at=enrolled_at)
    make_agent("E")
    import_module("agents.migrations.0002_names_without_case").settle_names(apps, None)
    owners = Agent.objects.filter(owns_name=True).order_by("name")
    assert [agent.machine_id for agent in owners] == ["A", "b", "c", "d", "E"]
    assert Agent.objects.count() == 9


@pytest.mark.django_db(transaction=True)
def test_upgrade_of_a_pair_of_spellings_settles_its_owner_before_names_are_unique(request):
    request.addfinalizer(lambda: call_command("migrate", verbosity=0))
    executor = MigrationExecutor(connection)
    executor.migrate([("agents", "0001_initial")])
    before = executor.loader.project_state([("agents", "0001_initial")]).apps.get_model("agents", "Agent")
    now = timezone.now()
    for name, enrolled_at in ((MINE, now), (MINE.lower(), now - timedelta(days=9))):
        before.objects.create(machine_id=name, enrolled_at=enrolled_at, last_seen_at=now)
    call_command("migrate", "agents", verbosity=0)
    owners = dict(Agent.objects.values_list("machine_id", "owns_name"))
    assert owners == {MINE: True, MINE.lower(): False}
