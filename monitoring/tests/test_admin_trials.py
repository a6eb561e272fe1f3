"""Checks that a user waits for: the test of a form, the first check of a saved target, *Check now*."""

from datetime import timedelta
from threading import BoundedSemaphore

import pytest
from django.core.cache import cache
from django.utils import timezone

from monitoring.checks import trial
from monitoring.checks.record import FinishedCheck
from monitoring.models import CheckResult, Incident, Target
from monitoring.probe.http import ProbeOutcome
from monitoring.tests.helpers.admin_pages import TARGETS, form_data, page_url
from monitoring.tests.helpers.http_service import HttpService
from portal.tests.helpers.admin_pages import log_in_with_role, messages_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def no_trials_yet():
    cache.clear()


@pytest.fixture
def service():
    with HttpService() as running:
        yield running


def sent_form(service, **changes):
    return form_data(Target(name="Shop", url=f"{service.url}/"), **changes)


class TestForm:
    def test_tested_form_shows_its_result_and_saves_nothing(self, client, service):
        log_in_with_role(client, "operator")
        response = client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert messages_of(response)[0].startswith("Check OK: status 200 in ")
        assert response.context["adminform"].form["name"].value() == "Shop"
        assert service.asked == ["/"]
        assert not Target.objects.exists()

    def test_failed_test_names_the_reason(self, admin_client, service):
        service.statuses["/"] = 503
        response = admin_client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert messages_of(response) == ["Check failed: The response status was 503."]

    def test_form_that_failed_its_test_is_saved_as_it_is_shown(self, client, service):
        log_in_with_role(client, "operator")
        client.cookies["django_language"] = "fr"
        service.statuses["/"] = 503
        sent = sent_form(service, retries=2, contains="prêt", _test="Test")
        sent.pop("follow_redirects", None)
        response = client.post(f"{TARGETS}add/", sent)
        assert "503" in messages_of(response)[0]
        form = response.context["adminform"].form
        shown = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False, "")}
        assert client.post(f"{TARGETS}add/", shown).status_code == 302
        target = Target.objects.get()
        assert (target.name, target.url, target.retries) == ("Shop", f"{service.url}/", 2)
        assert (target.contains, target.follow_redirects) == ("prêt", False)

    def test_form_without_a_name_is_tested(self, admin_client, service):
        response = admin_client.post(f"{TARGETS}add/", sent_form(service, name="", _test="Test"))
        assert service.asked == ["/"]
        assert list(response.context["adminform"].form.errors) == ["name"]

    def test_invalid_form_is_not_tested(self, admin_client, service):
        response = admin_client.post(f"{TARGETS}add/", sent_form(service, expected_statuses="good", _test="Test"))
        assert (service.asked, messages_of(response)) == ([], [])

    def test_tested_change_is_not_saved(self, admin_client, service, target):
        admin_client.post(page_url(target), form_data(target, url=f"{service.url}/new", _test="Test"))
        assert service.asked == ["/new"]
        assert Target.objects.get().url == target.url

    def test_private_address_is_not_probed_if_settings_forbid_it(self, admin_client, service, settings):
        settings.PROBE_ALLOW_PRIVATE = False
        response = admin_client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert service.asked == []
        assert messages_of(response)[0].startswith("Check failed: Checks of this address are not allowed")

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_only_operators_may_test(self, client, service, target, role):
        log_in_with_role(client, role)
        for address in (f"{TARGETS}add/", page_url(target)):
            assert client.post(address, sent_form(service, _test="Test")).status_code == 403
        assert service.asked == []

    def test_tests_of_a_user_are_limited(self, admin_client, service, monkeypatch):
        monkeypatch.setattr(trial, "MOST_PER_MINUTE", 2)
        for _ in range(3):
            response = admin_client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert len(service.asked) == 2
        assert [message.level_tag for message in response.context["messages"]] == ["error"]

    def test_test_is_refused_while_the_process_makes_as_many_as_it_may(self, admin_client, service, monkeypatch):
        monkeypatch.setattr(trial, "running", BoundedSemaphore(1))
        with trial.running:
            response = admin_client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert service.asked == []
        assert [message.level_tag for message in response.context["messages"]] == ["error"]
        admin_client.post(f"{TARGETS}add/", sent_form(service, _test="Test"))
        assert service.asked == ["/"]

    def test_user_waits_no_longer_than_the_limit(self, target, service, monkeypatch):
        monkeypatch.setattr(trial, "LONGEST_SECONDS", 0.05)
        service.gate.clear()
        target.url, target.timeout = f"{service.url}/", 30
        assert trial.try_target(target).error_kind == "timeout"


class TestSaving:
    @pytest.mark.django_db(transaction=True)
    def test_check_after_saving_is_recorded_and_shown(self, admin_client, service):
        response = admin_client.post(f"{TARGETS}add/", sent_form(service), follow=True)
        target = Target.objects.get()
        assert (target.state, target.claim, service.asked) == ("up", "", ["/"])
        assert CheckResult.objects.get().status == 200
        assert messages_of(response)[-1].startswith("Check OK")

    def test_change_that_is_no_setting_of_the_check_checks_nothing(
        self, admin_client, service, make_target, django_capture_on_commit_callbacks
    ):
        target = make_target(url=f"{service.url}/")
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(page_url(target), form_data(target, name="Other"))
            admin_client.post(page_url(target), form_data(target, name="Other", timeout=5))
        assert service.asked == ["/"]


class TestCheckNow:
    def check(self, client, target, capture):
        with capture(execute=True):
            client.post(f"{TARGETS}{target.pk}/act/check_now/", {"_selected_action": target.pk})
        target.refresh_from_db()

    def test_result_is_recorded(self, admin_client, service, make_target, django_capture_on_commit_callbacks):
        service.statuses["/"] = 503
        target = make_target(url=f"{service.url}/", next_check_at=timezone.now() + DAY)
        self.check(admin_client, target, django_capture_on_commit_callbacks)
        assert (target.state, target.failures_in_row, target.claim) == ("failing", 1, "")

    def test_failure_of_the_network_is_left_to_the_workers(
        self, admin_client, service, make_target, django_capture_on_commit_callbacks
    ):
        service.server_close()
        target = make_target(url=f"{service.url}/", next_check_at=timezone.now() + DAY)
        self.check(admin_client, target, django_capture_on_commit_callbacks)
        assert (target.state, CheckResult.objects.exists()) == ("unknown", False)
        assert target.next_check_at <= timezone.now()

    def test_target_that_a_worker_is_checking_is_left_to_it(
        self, admin_client, service, make_target, django_capture_on_commit_callbacks
    ):
        now = timezone.now()
        claim = {"claim": "1.1 host", "claimed_at": now, "claimed_until": now + DAY}
        target = make_target(url=f"{service.url}/", **claim)
        self.check(admin_client, target, django_capture_on_commit_callbacks)
        assert (target.claim, CheckResult.objects.exists()) == ("1.1 host", False)

    def test_check_beyond_the_limit_of_the_user_is_left_to_the_workers(
        self, admin_client, service, make_target, django_capture_on_commit_callbacks, monkeypatch
    ):
        monkeypatch.setattr(trial, "MOST_PER_MINUTE", 2)
        target = make_target(url=f"{service.url}/")
        for _ in range(3):
            Target.objects.update(next_check_at=timezone.now() + DAY)
            self.check(admin_client, target, django_capture_on_commit_callbacks)
        assert len(service.asked) == CheckResult.objects.count() == 2
        assert target.next_check_at <= timezone.now()

    def test_saved_target_is_left_to_the_workers_beyond_the_limit(
        self, admin_client, service, django_capture_on_commit_callbacks, monkeypatch
    ):
        monkeypatch.setattr(trial, "MOST_PER_MINUTE", 0)
        with django_capture_on_commit_callbacks(execute=True):
            response = admin_client.post(f"{TARGETS}add/", sent_form(service))
        assert (response.status_code, service.asked) == (302, [])
        assert Target.objects.get().next_check_at <= timezone.now()

    @pytest.mark.parametrize(("ago", "recorded"), [(timedelta(seconds=-1), False), (timedelta(seconds=1), True)])
    def test_result_that_a_later_check_has_overtaken_is_dropped(self, make_target, ago, recorded):
        began = timezone.now() - timedelta(seconds=8)
        target = make_target(state="up", last_check_at=began - ago, failures_to_open=1)
        trial.record_outcome(target, FinishedCheck(target, ProbeOutcome(error_kind="status", status=503), began))
        target.refresh_from_db()
        assert (CheckResult.objects.exists(), Incident.objects.exists()) == (recorded, recorded)
        assert (target.claim, target.last_check_at) == ("", max(began, began - ago))

    def test_result_is_recorded_over_one_from_before_the_clock_was_set_back(self, make_target):
        began = timezone.now()
        target = make_target(last_check_at=began + DAY)
        trial.record_outcome(target, FinishedCheck(target, ProbeOutcome(error_kind="status", status=503), began))
        target.refresh_from_db()
        assert target.last_check_at == began

    def test_target_changed_meanwhile_gets_no_result_of_its_former_address(self, service, make_target):
        target = make_target(url=f"{service.url}/old")
        Target.objects.update(url=f"{service.url}/new")
        assert trial.check_at_once(target).is_ok
        target.refresh_from_db()
        assert (target.claim, target.state, CheckResult.objects.exists()) == ("", "unknown", False)


def test_duplicate_begins_with_the_settings_of_the_target(admin_client, make_target):
    target = make_target("API", url="https://api.example.org/x", interval=30, contains="ok", expected_statuses="204")
    address = f"{TARGETS}add/?copy={target.pk}"
    assert address in admin_client.get(page_url(target)).text
    form = admin_client.get(address).context["adminform"].form
    shown = {name: form[name].value() for name in ("name", "url", "interval", "contains", "expected_statuses")}
    assert admin_client.get(f"{address}&name=New").context["adminform"].form["name"].value() == "New"
    assert shown == {"name": None, "url": target.url, "interval": 30, "contains": "ok", "expected_statuses": "204"}
