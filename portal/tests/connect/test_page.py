"""The page *Connect an application*: guides with the portal's address, and a token issued there, shown once."""

import re
import subprocess

import pytest
from django.utils import timezone

from portal.access.tokens import credential
from portal.access.tokens.issuing import issue_token
from portal.connect.guides import Guide, find_address, list_guides
from portal.models import ApiToken, AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
PAGE = "/admin/connect/"
ADDRESS = "https://vigie.example.org"


def issue(client, guide, **fields):
    return client.post(f"{PAGE}?guide={guide}", {"label": "Page counter"} | fields)


def token_in(response):
    return re.search(r"vigie_(?:enroll|client)_[A-Za-z0-9_]+", page_text(response))[0]


@pytest.fixture
def connectable(settings):
    """Return the guides of the page, with their keys."""
    settings.PORTAL_URL = ADDRESS
    return {guide.key: guide for guide in list_guides(ADDRESS) if guide.kind != ApiToken.Kind.STAFF}


def test_page_shows_each_guide_with_its_lines_and_the_address_of_the_portal(admin_client, connectable):
    assert len(connectable) > 1
    for key, guide in connectable.items():
        response = admin_client.get(PAGE, {"guide": key})
        assert [each["title"] for each in response.context["guides"] if each["is_chosen"]] == [guide.title]
        assert ADDRESS in page_text(response)
        assert page_text(response).count("data-copy=") == len(guide.snippets)


def test_unknown_guide_is_the_first(admin_client, connectable):
    assert admin_client.get(PAGE, {"guide": "fortran"}).context["guide"] == next(iter(connectable.values()))


def test_every_line_of_a_guide_is_free_of_tokens_and_placeholders(connectable):
    for guide in connectable.values():
        for snippet in guide.snippets:
            assert not credential.TOKEN_IN_TEXT.search(snippet.text)
            assert not re.search(r"{[{%]", snippet.text)


@pytest.mark.parametrize(("guide", "kind"), [("shell", "enroll"), ("curl", "client")])
def test_token_issued_on_the_page_is_of_the_kind_of_the_guide_and_shown_once(admin_client, connectable, guide, kind):
    response = issue(admin_client, guide)
    token = ApiToken.objects.get()
    assert credential.parse_token(token_in(response)).key == token.key
    assert (token.kind, token.label, token.created_by) == (kind, "Page counter", "user:admin")
    assert "no-store" in response["Cache-Control"]
    assert AuditEvent.objects.filter(action="token.issued").count() == 1
    again = admin_client.get(PAGE, {"guide": guide, "token": token.key})
    assert again.context["token"] == token
    assert token_in(response).split("_")[3] not in page_text(again)


def test_token_of_an_application_lasts_longer_than_one_of_enrolments(admin_client, connectable):
    lifetimes = []
    for guide in ("shell", "curl"):
        issue(admin_client, guide)
        lifetimes.append((ApiToken.objects.latest("pk").expires_at - timezone.now()).days + 1)
    assert lifetimes == [30, 365]


def test_form_without_a_description_issues_no_token(admin_client, connectable):
    assert "required" in page_text(issue(admin_client, "shell", label=" "))
    assert not ApiToken.objects.exists()


def test_user_who_may_not_issue_tokens_gets_403_and_no_link(client, connectable):
    log_in_with_role(client, "viewer")
    assert client.get(PAGE).status_code == 403
    assert issue(client, "shell").status_code == 403
    assert not ApiToken.objects.exists()
    assert PAGE not in page_text(client.get("/admin/agents/agent/"))


@pytest.mark.parametrize("model", ["agents/agent", "usage/run"])
def test_empty_list_of_machines_and_of_runs_leads_to_the_page(admin_client, model):
    assert f'<a href="{PAGE}" class="button">' in page_text(admin_client.get(f"/admin/{model}/"))


class TestFirstCall:
    def status(self, client, guide, token):
        text = page_text(client.get(PAGE, {"guide": guide, "token": token.key}))
        return re.search(r'id="live".*?role="status">\s*(\w+)', text, re.DOTALL)[1]

    def test_page_says_that_no_call_has_arrived_and_then_that_one_has(self, admin_client, connectable, call):
        token, plain = issue_token("enroll", label="x")
        assert self.status(admin_client, "shell", token) == "Waiting"
        assert call("POST", "agents/enroll", plain, machine_id="PC-1").status_code == 201
        assert self.status(admin_client, "shell", token) == "The"

    def test_refused_enrolment_is_not_taken_for_an_arrival(self, admin_client, connectable, call, settings):
        settings.ENROLMENT_APPROVAL = "always"
        token, plain = issue_token("enroll", label="x")
        assert call("POST", "agents/enroll", plain, machine_id="PC-1").status_code == 409
        assert self.status(admin_client, "shell", token) == "A"

    def test_first_call_of_an_application_arrives(self, admin_client, connectable):
        token, _ = issue_token("client", label="x")
        ApiToken.objects.update(last_used_at=timezone.now())
        assert self.status(admin_client, "curl", token) == "The"

    def test_page_after_issuing_polls_for_that_token_without_issuing_another(self, admin_client, connectable):
        response = issue(admin_client, "curl")
        (polled,) = re.findall(r'id="live"[^>]* hx-get="([^"]+)"', page_text(response))
        key = ApiToken.objects.get().key
        assert polled.replace("&amp;", "&") == f"{PAGE}?guide=curl&token={key}"

    def test_token_of_another_kind_is_not_awaited(self, admin_client, connectable):
        token, _ = issue_token("client", label="x")
        assert admin_client.get(PAGE, {"guide": "shell", "token": token.key}).context["token"] is None


@pytest.mark.parametrize(
    ("portal_url", "host", "address"),
    [
        (ADDRESS, "vigie.lan:8000", ADDRESS),
        ("http://127.0.0.1:8000", "vigie.lan:8000", "http://vigie.lan:8000"),
        ("http://127.0.0.1:8000", "localhost:9000", "http://localhost:9000"),
    ],
)
def test_address_is_that_of_the_request_if_no_other_machine_reaches_the_configured_one(
    settings, rf, portal_url, host, address
):
    settings.PORTAL_URL, settings.ALLOWED_HOSTS = portal_url, ["*"]
    assert find_address(rf.get("/", headers={"host": host})) == address


@pytest.mark.parametrize(("host", "is_warned"), [("127.0.0.1:8000", True), ("vigie.lan", False)])
def test_page_warns_if_only_this_machine_can_reach_the_portal(admin_client, settings, host, is_warned):
    settings.PORTAL_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["*"]
    response = admin_client.get(PAGE, headers={"host": host})
    assert bool(response.context["local_url"]) == is_warned


def test_saved_token_is_private_though_the_file_existed(tmp_path):
    (tmp_path / "enrol.token").touch()
    (tmp_path / "enrol.token").chmod(0o644)
    line = Guide("x", "enroll", "", "", [], "enrol.token").save_token("vigie_enroll_x")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    assert (tmp_path / "enrol.token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "enrol.token").read_text() == "vigie_enroll_x\n"


@pytest.mark.parametrize("is_powershell", [False, True])
def test_lines_that_save_the_token_keep_it_off_the_command_line_of_a_program(is_powershell):
    line = Guide("x", "enroll", "", "", [], "enrol.token", is_powershell).save_token("vigie_enroll_x")
    assert line.lstrip("(").split()[0] in ("umask", "Set-Content")  # both are part of their shell
