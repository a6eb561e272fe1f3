"""Machines in the admin: list, page, actions and findings."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.findings import exhausted_tokens, expiring_tokens, late_and_lost_machines, looping_clients
from agents.models import Agent
from agents.panels import fleet_tile, token_section
from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.admin import confirm
from portal.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/agents/agent/"
LATE, LOST = timedelta(hours=2), timedelta(days=31)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


@pytest.fixture
def user(client):
    user = User.objects.create_user("olga", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agent"))
    client.force_login(user)
    return user


def permit(client, user, codename):
    """Give the permission and log in again, since a change of permissions ends sessions."""
    user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)


def act(client, action, *machines, **fields):
    data = {"action": action, "_selected_action": [machine.pk for machine in machines]} | fields
    return client.post(LIST, data, follow=True)


def listed(client, **query):
    return {machine.machine_id for machine in client.get(LIST, query).context["cl"].queryset}


class TestMachineList:
    @pytest.fixture(autouse=True)
    def fleet(self, make_agent):
        make_agent("ON", user_name="Bo", version="1.5.0")
        make_agent("LATE", seen=LATE)
        make_agent("LOST", seen=LOST)
        make_agent("GONE", status="uninstalled")

    def test_liveness_badge_has_text_and_colour(self, admin_client):
        text = admin_client.get(LIST).content.decode()
        for tone, word in (("good", "online"), ("warning", "late"), ("bad", "gone"), ("quiet", "uninstalled")):
            assert f'<span class="badge badge-{tone}">{word}</span>' in text

    def test_last_seen_is_relative_with_exact_time_as_tooltip(self, admin_client):
        exact = f"{Agent.objects.get(machine_id='LATE').last_seen_at:%Y-%m-%d %H:%M:%S} UTC"
        assert f'2\xa0h ago<span class="exact"> {exact}</span>' in admin_client.get(LIST).content.decode()

    @pytest.mark.parametrize(
        ("query", "found"),
        [({"liveness": "online"}, {"ON"}), ({"liveness": "late"}, {"LATE"}), ({"liveness": "lost"}, {"LOST"}),
         ({"status": "uninstalled"}, {"GONE"}), ({"q": "bo"}, {"ON"}), ({"q": "nobody"}, set()), ({"q": "1.5"}, {"ON"})],
    )  # fmt: skip
    def test_filters_narrow_the_list(self, admin_client, query, found):
        assert listed(admin_client, **query) == found


class TestMachinePage:
    def test_page_shows_all_fields(self, admin_client, agent, agent_token):
        audit.record_event("agent.changed", "agent:PC-1", before={"version": "1"}, after={"version": "2"})
        audit.record_event("agent.enrolled", "agent:PC-2")
        text = admin_client.get(reverse("admin:agents_agent_change", args=[agent.pk])).content.decode()
        key = ApiToken.objects.get(kind="agent").key
        for part in ("PC-1", "online", key, "Details changed", "Version: 1 → 2", "Latest runs"):
            assert part in text
        assert "Enrolled</td>" not in text

    @pytest.mark.parametrize(("seen", "is_shown"), [(timedelta(0), False), (LATE, True), (LOST, True)])
    def test_page_of_a_machine_that_is_not_online_shows_the_command_of_its_heartbeats(
        self, admin_client, make_agent, settings, seen, is_shown
    ):
        settings.PORTAL_URL = "https://vigie.example.org"
        machine = make_agent("PC-2", seen=seen, enrolled_at=timezone.now() - timedelta(days=40))
        text = admin_client.get(reverse("admin:agents_agent_change", args=[machine.pk])).content.decode()
        assert ("vigie-client heartbeat --server https://vigie.example.org --watch" in text) is is_shown

    def test_page_of_a_machine_just_enrolled_shows_the_command_of_its_heartbeats(self, admin_client, make_agent):
        machine = make_agent("PC-2")
        text = admin_client.get(reverse("admin:agents_agent_change", args=[machine.pk])).content.decode()
        assert "vigie-client heartbeat --server" in text

    def test_tile_counts_one_machine_in_the_singular(self, agent):
        assert fleet_tile(timezone.now()).caption == "active machine"

    def test_page_limits_tokens(self, agent):
        for _ in range(12):
            issue_agent_token(agent)
        section = token_section(agent)
        assert (len(section.rows), bool(section.note)) == (10, True)

    def test_page_needs_same_queries_for_any_amount(self, admin_client, agent, django_assert_max_num_queries):
        for _ in range(12):
            issue_agent_token(agent)
            audit.record_event("agent.changed", "agent:PC-1")
        with django_assert_max_num_queries(10):
            admin_client.get(reverse("admin:agents_agent_change", args=[agent.pk]))

    def test_page_offers_actions(self, admin_client, agent, make_agent):
        gone = make_agent("GONE", status="uninstalled")
        for machine, offered in ((agent, True), (gone, False)):
            text = admin_client.get(reverse("admin:agents_agent_change", args=[machine.pk])).content.decode()
            url = reverse("admin:agents_agent_act", args=[machine.pk, "uninstall_chosen"])
            assert (url in text) is offered


class TestUninstall:
    def test_uninstall_asks_for_confirmation(self, admin_client, agent):
        response = act(admin_client, "uninstall_chosen", agent)
        assert response.context["keys"] == [agent.pk]
        agent.refresh_from_db()
        assert agent.is_active
        assert not AuditEvent.objects.filter(action="admin.action").exists()

    def test_confirmed_uninstall_revokes_tokens(self, admin_client, agent, agent_token, call):
        response = act(admin_client, "uninstall_chosen", agent, confirmed="yes", reason="replaced")
        assert "1 machine was uninstalled." in response.content.decode()
        agent.refresh_from_db()
        assert (agent.status, agent.uninstall_reason) == ("uninstalled", "replaced")
        assert call("POST", "agents/heartbeat", agent_token).json()["code"] == "token_revoked"
        event = AuditEvent.objects.get(action="agent.uninstalled")
        assert (event.actor, event.subject, event.after) == ("user:admin", "agent:PC-1", {"reason": "replaced"})

    def test_uninstall_from_machine_page_returns_there(self, admin_client, agent):
        url = reverse("admin:agents_agent_act", args=[agent.pk, "uninstall_chosen"])
        assert admin_client.post(url).context["keys"] == [agent.pk]
        response = admin_client.post(url, {"confirmed": "yes"})
        assert response["Location"] == reverse("admin:agents_agent_change", args=[agent.pk])

    def test_more_than_500_machines_are_refused(self, admin_client, make_agent, monkeypatch):
        monkeypatch.setattr(confirm, "MOST_AT_ONCE", 1)
        act(admin_client, "uninstall_chosen", make_agent("A"), make_agent("B"), confirmed="yes")
        assert Agent.objects.active().count() == 2

    def test_uninstall_needs_its_own_permission(self, client, user, agent):
        permit(client, user, "change_agent")
        act(client, "uninstall_chosen", agent, confirmed="yes")
        assert Agent.objects.active().exists()
        permit(client, user, "uninstall_agent")
        act(client, "uninstall_chosen", agent, confirmed="yes")
        assert not Agent.objects.active().exists()

    def test_confirmation_counts_machines_seen_lately(self, admin_client, make_agent):
        machines = [make_agent("A"), make_agent("B"), make_agent("C", seen=LOST)]
        page = act(admin_client, "uninstall_chosen", *machines)
        assert "2 were seen in the last 24 hours." in page.context["confirmation"].consequences

    def test_number_of_many_machines_is_typed(self, admin_client, make_agent):
        machines = [make_agent(f"PC-{number}") for number in range(10)]
        for typed, left in (("", 10), ("9", 10), ("10", 0)):
            act(admin_client, "uninstall_chosen", *machines, confirmed="yes", typed=typed)
            assert Agent.objects.active().count() == left


class TestTokensAndReenrolment:
    def test_confirmation_counts_tokens_used_lately(self, admin_client, make_agent, call):
        used, other = make_agent("A"), make_agent("B")
        assert call("POST", "agents/heartbeat", issue_agent_token(used)).status_code == 200
        issue_agent_token(other)
        page = act(admin_client, "revoke_tokens", used, other)
        assert "1 token was used in the last 24 hours." in page.context["confirmation"].consequences

    def test_revoked_tokens_appear_in_history(self, admin_client, agent, agent_token, call):
        assert act(admin_client, "revoke_tokens", agent).context["keys"] == [agent.pk]
        assert call("POST", "agents/heartbeat", agent_token).status_code == 200
        act(admin_client, "revoke_tokens", agent, confirmed="yes")
        assert call("POST", "agents/heartbeat", agent_token).json()["code"] == "token_revoked"
        assert AuditEvent.objects.get(action="agent.tokens_revoked").after == {"tokens": 1}

    def test_reenrolment_is_allowed_for_active_machine(self, admin_client, agent, enroll_token, call):
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 409
        act(admin_client, "allow_reenrolment", agent)
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 201
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 409

    def test_uninstalled_machine_needs_no_reenrolment(self, admin_client, make_agent):
        act(admin_client, "allow_reenrolment", make_agent(status="uninstalled"))
        assert not AuditEvent.objects.filter(action="agent.reenrolment_allowed").exists()

    @pytest.mark.parametrize("action", ["revoke_tokens", "allow_reenrolment"])
    def test_actions_need_permission(self, client, user, agent, agent_token, action):
        act(client, action, agent, confirmed="yes")
        assert not AuditEvent.objects.filter(action__startswith="agent.").exists()
        permit(client, user, "change_agent")
        act(client, action, agent, confirmed="yes")
        assert AuditEvent.objects.filter(action__startswith="agent.").exists()


class TestFleetTile:
    def test_tile_counts_fleet_and_enrolments_by_day(self, make_agent):
        now = timezone.now()
        make_agent("A")
        make_agent("B", seen=LATE, enrolled_at=now - timedelta(days=3))
        make_agent("C", seen=LOST, enrolled_at=now - timedelta(days=40))
        tile = fleet_tile(now)
        assert (tile.figure, dict(tile.facts)) == ("3", {"online": "1", "late": "1", "gone": "1"})
        assert (tile.chart.values[-1], tile.chart.values[-4], sum(tile.chart.values)) == (1, 1, 2)

    def test_tile_counts_once_a_minute(self, agent, django_assert_num_queries):
        fleet_tile(timezone.now())
        with django_assert_num_queries(0):
            fleet_tile(timezone.now())


class TestFindings:
    def found(self, source):
        cache.clear()
        return [finding.text for finding in source(timezone.now())]

    def test_healthy_fleet_has_no_finding(self, make_agent):
        for number in range(10):
            make_agent(f"PC-{number}")
        assert self.found(late_and_lost_machines) == []

    def test_small_fleet_has_no_finding(self, make_agent):
        make_agent("PC-1", seen=LOST)
        assert self.found(late_and_lost_machines) == []

    def test_many_lost_machines_are_a_finding(self, make_agent):
        for number in range(10):
            make_agent(f"PC-{number}", seen=LOST if number < 1 else timedelta())
        assert self.found(late_and_lost_machines) == []
        make_agent("ONE-MORE", seen=LOST)
        assert [text[:32] for text in self.found(late_and_lost_machines)] == ["2 of 11 active machines are gone"]

    def test_mostly_late_fleet_is_a_finding(self, make_agent):
        for number in range(5):
            make_agent(f"PC-{number}", seen=LATE if number < 4 else timedelta())
        assert self.found(late_and_lost_machines) == []
        Agent.objects.update(last_seen_at=timezone.now() - LATE)
        assert [text[:32] for text in self.found(late_and_lost_machines)] == ["5 of 5 active machines are late."]

    def test_expiring_token_is_a_finding(self, make_agent):
        now = timezone.now()
        issue_token("client", label="gui", expires_at=now + timedelta(days=2, minutes=1))
        issue_token("client", label="later", expires_at=now + timedelta(days=8))
        issue_token("client", label="over", expires_at=now - timedelta(days=1))
        issue_agent_token(make_agent(), expires_at=now + timedelta(hours=2))
        ApiToken.objects.update(created_at=now - timedelta(days=30))
        issue_token("enroll", label="for a day", expires_at=now + timedelta(days=1))
        assert self.found(expiring_tokens) == ["The token “gui” (application) expires in 2\xa0days."]

    def test_token_that_is_used_up_and_expires_is_two_findings(self):
        now = timezone.now()
        token, _ = issue_token("enroll", label="many", max_uses=2, expires_at=now + timedelta(days=2))
        made = now - timedelta(days=60)
        ApiToken.objects.filter(pk=token.pk).update(uses=2, last_used_at=now, created_at=made)
        keys = {finding.key for source in (expiring_tokens, exhausted_tokens) for finding in source(now)}
        assert keys == {f"agents.token.expiring:{token.pk}", f"agents.token.used-up:{token.pk}"}

    def test_used_up_enrolment_token_is_a_finding(self):
        for label, most in (("one", 1), ("many", 5), ("unlimited", None)):
            token, _ = issue_token("enroll", label=label, max_uses=most)
            ApiToken.objects.filter(pk=token.pk).update(uses=5)
        assert [text[:19] for text in self.found(exhausted_tokens)] == ["The token “many” (e"]

    @pytest.mark.parametrize(("count", "hours", "found"), [(101, 0, 1), (100, 0, 0), (5000, 2, 0)])
    def test_looping_client_is_a_finding(self, count, hours, found):
        at = timezone.now() - timedelta(hours=hours, minutes=10)
        AuditEvent.objects.create(
            at=at, last_at=at, action="refused.invalid_token", actor="anonymous", address="10.0.0.1", count=count
        )
        assert len(self.found(looping_clients)) == found


def test_machine_page_hides_sections_without_permission(client, agent):
    issue_agent_token(agent)
    reader = User.objects.create_user("reader", is_staff=True)
    permit(client, reader, "view_agent")
    page = f"/admin/agents/agent/{agent.pk}/change/"
    shown = client.get(page).content.decode()
    assert "PC-1" in shown
    assert not [title for title in ("Latest runs", "History", "Public key") if title in shown]
    permit(client, reader, "view_run")
    assert "Latest runs" in client.get(page).content.decode()


def test_machines_are_bound_to_a_licence_and_released(admin_client, make_agent):
    first, second = make_agent("PC-1"), make_agent("PC-2", license_ref="LIC-1")
    gone = make_agent("PC-3", status="uninstalled")
    chosen = {"action": "bind_licence", "_selected_action": [first.pk, second.pk, gone.pk]}
    assert "PC-2" in admin_client.post(LIST, chosen).content.decode()
    refused = admin_client.post(LIST, chosen | {"confirmed": "yes", "license_ref": "../x"})
    assert refused.context["asked"][0].errors
    admin_client.post(LIST, chosen | {"confirmed": "yes", "license_ref": "LIC-1"})
    assert list(Agent.objects.order_by("pk").values_list("license_ref", flat=True)) == ["LIC-1", "LIC-1", ""]
    event = AuditEvent.objects.get(action="agent.bound")
    assert (event.subject, event.before, event.after) == ("agent:PC-1", {"license_ref": ""}, {"license_ref": "LIC-1"})
    assert set(admin_client.get(f"{LIST}?licence=bound").context["cl"].queryset) == {first, second}
    assert "LIC-1" in admin_client.get(f"{LIST}{first.pk}/change/").content.decode()
    admin_client.post(f"{LIST}{first.pk}/act/bind_licence/", {"confirmed": "yes", "license_ref": ""})
    first.refresh_from_db()
    assert first.license_ref == ""
