"""Triage in the admin: on the page of one, by one click, and of many at once."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from beta.admin.feedback_form import SingleTriageForm
from beta.feedback import triage
from beta.models import BetaFeedback
from beta.tests.factories import create_bug, get_programme
from monitoring.models import Incident
from monitoring.tests.helpers.admin_pages import page_url, post_action, post_page_action
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
TRIAGED = "monitoring.feedback_triaged"


@pytest.fixture(autouse=True)
def operator(client):
    log_in_with_role(client, "operator")
    return User.objects.get(username="olga")


@pytest.fixture
def incident():
    return Incident.objects.create(subject="fleet", rule="fleet_errors", opened_at=timezone.now())


def sent(feedback, **changes):
    """What the form sends that shows this, once the changes are made by hand."""
    form = SingleTriageForm(instance=BetaFeedback.objects.get(pk=feedback.pk))
    shown = {name: form[name].field.prepare_value(form[name].value()) for name in form.fields}
    shown = {name: "" if value is None else str(value) for name, value in shown.items()}
    return shown | {f"initial-{name}": value for name, value in shown.items()} | changes


def fresh(feedback):
    return BetaFeedback.objects.get(pk=feedback.pk)


def trail(feedback):
    events = AuditEvent.objects.filter(action=TRIAGED, subject=feedback.subject).order_by("id")
    return [(event.before, event.after) for event in events]


class TestPage:
    def test_changed_fields_are_stored_and_shown_in_the_history(self, client, operator, incident):
        feedback, original = create_bug(comment="It crashes, says bob"), create_bug()
        changes = {
            "type": "ux", "severity": "high", "duplicate_of": f"#{original.pk}", "assignee": operator.pk,
            "incident": incident.pk, "fix_version": "6.3", "tags": "Export, Dark",
        }  # fmt: skip
        response = client.post(page_url(feedback), sent(feedback, **changes), follow=True)
        assert response.redirect_chain == [(page_url(feedback), 302)]
        found = fresh(feedback)
        assert (found.type, found.severity, found.status, found.duplicate_of) == ("ux", "high", "duplicate", original)
        assert (found.assignee, found.incident, found.fix_version) == (operator, incident, "6.3")
        assert [tag.name for tag in found.tags.all()] == ["dark", "export"]
        text = page_text(response)
        assert "Status: open → duplicate" in text
        assert "Assigned to: – → user:olga" in text
        [event] = AuditEvent.objects.filter(subject=feedback.subject)
        assert "bob" not in repr((event.before, event.after))

    def test_cleared_fields_are_shown_in_the_history(self, client, operator):
        feedback = create_bug(severity="low", assignee=operator, fix_version="6.3")
        client.post(page_url(feedback), sent(feedback, severity="", assignee="", fix_version=""))
        found = fresh(feedback)
        assert (found.severity, found.assignee, found.fix_version) == ("", None, "")
        text = page_text(client.get(page_url(feedback)))
        for part in ("Severity: low → –", "Assigned to: user:olga → –", "Fixed in version: 6.3 → –"):
            assert part in text

    def test_concurrent_forms_change_only_their_own_fields(self, client):
        feedback = create_bug()
        first, second = sent(feedback, severity="high", tags="export"), sent(feedback, status="planned")
        client.post(page_url(feedback), first)
        client.post(page_url(feedback), second)
        found = fresh(feedback)
        assert (found.severity, found.status, found.tags.get().name) == ("high", "planned", "export")
        assert trail(feedback)[1] == ({"status": "open"}, {"status": "planned"})

    def test_concurrent_forms_add_and_remove_only_their_own_tags(self, client):
        feedback = create_bug()
        triage.apply_triage(feedback, {"tags": ["gone", "old", "stays"]})
        first = sent(feedback, tags="old, stays, export")
        second = sent(feedback, tags="gone, stays, dark")
        client.post(page_url(feedback), first)
        client.post(page_url(feedback), second)
        assert [tag.name for tag in fresh(feedback).tags.all()] == ["dark", "export", "stays"]

    @pytest.mark.parametrize(
        ("name", "meanwhile", "by_hand", "now"),
        [
            ("status", "fixed", "planned", "fixed"),
            ("severity", "high", "low", "high"),
            ("fix_version", "7", "8", "7"),
            ("duplicate_of", 0, 1, "#{}"),
            ("assignee", "", "", "olga"),
        ],
    )
    def test_field_changed_meanwhile_is_refused_once_and_then_overwritten(
        self, client, operator, name, meanwhile, by_hand, now
    ):
        feedback, originals = create_bug(), [create_bug(), create_bug()]
        if name == "duplicate_of":
            meanwhile, by_hand = originals[meanwhile].pk, f"#{originals[by_hand].pk}"
        if name == "assignee":
            meanwhile, by_hand = operator.pk, User.objects.create_user("otto", is_staff=True).pk
        late = sent(feedback, **{name: by_hand})
        client.post(page_url(feedback), sent(feedback, **{name: meanwhile}))
        refused = client.post(page_url(feedback), late)
        form = refused.context["adminform"].form
        assert list(form.errors) == [name]
        assert f" {now.format(originals[0].pk)}." in form.errors[name][0]
        assert str(fresh(feedback).serializable_value(name)) == str(meanwhile)
        # Whoever has read that and saves it again means it.
        again = late | {f"initial-{name}": form.data[f"initial-{name}"]}
        assert f'value="{again[f"initial-{name}"]}"' in str(form[name].as_hidden(only_initial=True))
        assert client.post(page_url(feedback), again).status_code == 302
        assert str(fresh(feedback).serializable_value(name)) == str(by_hand).removeprefix("#")

    def test_same_change_by_two_forms_is_accepted_and_audited_once(self, client):
        feedback, original = create_bug(), create_bug()
        both = sent(feedback, severity="high", duplicate_of=f"#{original.pk}")
        for _operator in range(2):
            assert client.post(page_url(feedback), both).status_code == 302
        assert len(trail(feedback)) == 1

    def test_unchanged_form_leaves_no_audit_event(self, client):
        feedback = create_bug(severity="low")
        client.post(page_url(feedback), sent(feedback))
        assert trail(feedback) == []

    def test_texts_of_the_participant_cannot_be_changed(self, client):
        feedback = create_bug()
        client.post(page_url(feedback), sent(feedback, comment="It is fine", participant="eve", nps_score="10"))
        found = fresh(feedback)
        assert (found.comment, found.participant, found.nps_score) == ("It crashes", "amy@example.org", None)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"status": "duplicate"}, "Enter the number of the original."),
            ({"duplicate_of": "999999"}, "No feedback with this number."),
            ({"duplicate_of": "9" * 30}, "No feedback with this number."),
            ({"duplicate_of": "first"}, "No feedback with this number."),
            ({"duplicate_of": "1", "status": "fixed"}, "Choose one status: duplicate or fixed."),
            ({"tags": "x" * 41}, "A tag can have at most 40 characters."),
            ({"tags": ",".join("abcdefghijk")}, "Feedback can have at most 10 tags."),
            ({"assignee": "999999"}, "Select a valid choice."),
            ({"fix_version": "x" * 65}, "at most 64 characters"),
        ],
    )
    def test_invalid_value_is_refused_at_its_field(self, client, changes, why):
        feedback = create_bug()
        if changes.get("duplicate_of") == "1":
            changes = changes | {"duplicate_of": str(create_bug().pk)}
        response = client.post(page_url(feedback), sent(feedback, **changes))
        assert response.status_code == 200
        assert why in page_text(response)
        assert (fresh(feedback).status, trail(feedback)) == ("open", [])

    def test_original_may_not_be_itself_or_of_another_programme(self, client):
        feedback, other = create_bug(), create_bug(programme=get_programme("Second"))
        for number in (feedback.pk, other.pk):
            assert client.post(page_url(feedback), sent(feedback, duplicate_of=number)).status_code == 200
        assert fresh(feedback).duplicate_of is None

    def test_assignees_are_active_staff_and_the_present_one(self, client):
        gone = User.objects.create_user("gone", is_staff=True, is_active=False)
        User.objects.create_user("customer")
        feedback = create_bug(assignee=gone)
        form = SingleTriageForm(instance=feedback)
        assert [str(user) for user in form.fields["assignee"].queryset] == ["gone", "olga"]
        client.post(page_url(feedback), sent(feedback, severity="low"))
        assert fresh(feedback).assignee == gone

    def test_newest_incidents_and_the_linked_one_are_offered(self, client, incident, monkeypatch):
        monkeypatch.setattr("beta.admin.feedback_form.SHOWN_INCIDENTS", 1)
        newer = Incident.objects.create(subject="x", rule="slow", opened_at=timezone.now())
        assert list(SingleTriageForm(instance=create_bug()).fields["incident"].queryset) == [newer]
        assert list(SingleTriageForm(instance=create_bug(incident=incident)).fields["incident"].queryset) == [
            newer,
            incident,
        ]

    def test_page_links_to_original_incident_and_machine(self, client, incident):
        original, feedback = create_bug(), create_bug(source="agent:PC-1", incident=incident)
        triage.apply_triage(feedback, {"duplicate_of": original})
        text = page_text(client.get(page_url(feedback)))
        for address in (page_url(original), page_url(incident), "/admin/agents/agent/?q=PC-1"):
            assert f'href="{address}"' in text


class TestOneClickActions:
    @pytest.mark.parametrize(
        ("action", "status"), [("plan", "planned"), ("fix", "fixed"), ("decline", "declined"), ("reopen", "open")]
    )
    def test_one_click_action_changes_the_status_of_one_and_of_many(self, client, action, status):
        start = "fixed" if action == "reopen" else "open"
        one, two, so_already = create_bug(status=start), create_bug(status=start), create_bug(status=status)
        post_page_action(client, action, one)
        response = post_action(client, action, two, so_already)
        assert messages_of(response) == ["1 feedback entry updated."]
        assert [fresh(each).status for each in (one, two)] == [status, status]
        assert trail(one) == [({"status": start}, {"status": status})]
        assert trail(so_already) == []

    def test_assign_to_me_sets_the_operator_as_assignee(self, client, operator):
        feedback = create_bug()
        post_page_action(client, "assign_to_me", feedback)
        assert fresh(feedback).assignee == operator

    @pytest.mark.parametrize(
        ("status", "offered"),
        [
            ("open", {"assign_to_me", "plan", "fix", "decline"}),
            ("planned", {"assign_to_me", "fix", "decline", "reopen"}),
            ("fixed", {"reopen"}),
            ("duplicate", {"reopen"}),
        ],
    )
    def test_buttons_depend_on_the_status(self, client, status, offered):
        buttons = client.get(page_url(create_bug(status=status))).context["buttons"]
        assert {button.url.rstrip("/").rpartition("/")[2] for button in buttons} == offered

    @pytest.mark.parametrize("action", ["assign_to_me", "plan", "fix", "decline", "reopen"])
    def test_bulk_action_changes_only_rows_whose_page_offers_it(self, client, action):
        original = create_bug(participant="original")
        rows = [create_bug(status=status) for status in ("open", "planned", "fixed", "declined")]
        rows.append(create_bug(status="duplicate", duplicate_of=original))
        model_admin = admin.site.get_model_admin(BetaFeedback)
        offered = [row for row in rows if model_admin.can_act(row, action)]
        post_action(client, action, *rows)
        assert [row for row in rows if trail(row)] == offered
        assert fresh(rows[-1]).duplicate_of == (None if action == "reopen" else original)

    def test_action_without_applicable_rows_shows_a_message(self, client):
        response = post_action(client, "fix", create_bug(status="fixed"))
        assert messages_of(response) == ["No changes needed."]


class TestBulkTriage:
    def test_bulk_triage_asks_first_and_shows_the_chosen_rows(self, client):
        text = page_text(post_action(client, "triage", create_bug(comment="<b>first"), create_bug()))
        assert '<input type="hidden" name="confirmed"' in text
        assert "&lt;b&gt;first" in text
        assert not AuditEvent.objects.filter(action="admin.action").exists()

    def test_bulk_triage_changes_only_the_filled_in_fields_of_all_rows(self, client, operator, incident):
        rows = [create_bug(severity="low"), create_bug(type="ux")]
        triage.apply_triage(rows[0], {"tags": ["old"]})
        fields = {
            "severity": "high", "status": "planned", "assignee": operator.pk, "add_tags": "Export", "remove_tags": "old",
            "incident": incident.pk, "fix_version": "7",
        }  # fmt: skip
        response = post_action(client, "triage", *rows, confirmed="yes", **fields)
        assert messages_of(response) == ["2 feedback entries updated."]
        for feedback in map(fresh, rows):
            assert (feedback.severity, feedback.status, feedback.fix_version) == ("high", "planned", "7")
            assert (feedback.assignee, feedback.incident, feedback.tags.get().name) == (operator, incident, "export")
            assert len(trail(feedback)) == 1
        assert [fresh(each).type for each in rows] == ["bug", "ux"]

    def test_bulk_triage_clears_severity_assignee_and_incident(self, client, operator, incident):
        feedback = create_bug(severity="low", assignee=operator, incident=incident)
        fields = {"severity": "none", "assignee": "nobody", "incident": "none"}
        post_action(client, "triage", feedback, confirmed="yes", **fields)
        found = fresh(feedback)
        assert (found.severity, found.assignee, found.incident) == ("", None, None)

    def test_bulk_triage_marks_all_but_the_original_as_duplicates(self, client):
        rows = [create_bug(), create_bug(), create_bug()]
        post_action(client, "triage", *rows, confirmed="yes", duplicate_of=f"#{rows[0].pk}")
        assert [fresh(each).duplicate_of for each in rows] == [None, rows[0], rows[0]]

    def test_duplicate_with_another_status_is_refused(self, client):
        rows = [create_bug(), create_bug()]
        response = post_action(client, "triage", rows[0], confirmed="yes", duplicate_of=rows[1].pk, status="fixed")
        assert "Choose one status: duplicate or fixed." in page_text(response)
        assert trail(rows[0]) == []

    @pytest.mark.parametrize(
        "fields", [{}, {"duplicate_of": "x"}, {"status": "duplicate"}, {"assignee": "999"}, {"severity": "huge"}]
    )
    def test_empty_or_invalid_bulk_form_is_shown_again(self, client, fields):
        feedback = create_bug()
        response = post_action(client, "triage", feedback, confirmed="yes", **fields)
        assert response.context["asked"][0].errors
        assert trail(feedback) == []

    def test_bulk_triage_changes_no_row_if_one_is_refused(self, client):
        original, fine, other = create_bug(), create_bug(), create_bug(programme=get_programme("Second"))
        response = post_action(client, "triage", fine, other, confirmed="yes", duplicate_of=original.pk, severity="low")
        assert f"#{other.pk}: #{original.pk} belongs to another programme." in page_text(response)
        assert fresh(fine).severity == ""

    def test_bulk_triage_above_the_limit_changes_nothing(self, client, monkeypatch):
        monkeypatch.setattr("portal.admin.confirm.MOST_AT_ONCE", 1)
        response = post_action(client, "triage", create_bug(), create_bug(), confirmed="yes", status="fixed")
        assert messages_of(response) == ["Choose at most 1 at once. Nothing was done."]
        assert not BetaFeedback.objects.filter(status="fixed").exists()

    def test_bulk_form_takes_as_many_queries_for_many_rows_as_for_few(self, client):
        def queries(*rows):
            with CaptureQueriesContext(connection) as captured:
                post_action(client, "triage", *rows)
            return len(captured)

        rows = [create_bug(comment="x" * 100_000) for _ in range(8)]
        assert queries(*rows[:2]) == queries(*rows)


def test_machine_page_shows_its_ten_newest_feedback_rows(client, agent):
    for number in range(12):
        create_bug(comment=f"<i>said {number}", source="agent:PC-1")
    create_bug(comment="of another", source="agent:PC-10")
    sections = client.get(f"/admin/agents/agent/{agent.pk}/change/").context["sections"]
    [section] = [section for section in sections if section.title == "Beta feedback"]
    assert [str(row[-1]) for row in section.rows] == [
        f"<bdi>&lt;i&gt;said {number}</bdi>" for number in range(11, 1, -1)
    ]
    assert len(client.get(section.url).context["cl"].result_list) == 12
