"""The page for feedback: whoever has a programme's key can say what they think, without a script or a cookie."""

import uuid
from datetime import timedelta
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from vigie_client import contract

from beta.feedback import intake, page
from beta.models import BetaFeedback, FeedbackWindow
from beta.tests.factories import create_programme
from beta.tests.helpers.html_page import Page
from portal.models import AuditEvent, SecondFactorGrace
from tests.canaries import CANARY, HEADERS, everything_kept, everything_logged, found
from usage.models import FeatureUsage, UserError

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
ADDRESS = "203.0.113.77"
PASSWORD = "a long password"


@pytest.fixture
def programme(db):
    return create_programme(name="Spring beta", product="Scoring 6")


@pytest.fixture
def url(programme):
    return reverse("feedback-page", args=[programme.public_key])


@pytest.fixture
def visitor():
    """Without the leave to do what only a page of the portal's own may."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def see(visitor, url):
    return lambda query="", **headers: visitor.get(url + query, headers=headers, REMOTE_ADDR=ADDRESS)


@pytest.fixture
def send(visitor, see, url):
    """What a browser sends of the form, once these fields are filled in."""

    def sending(query="", **filled):
        fields = Page(see(query)).sends | {"participant": "Carol", "comment": "It stops."} | filled
        return visitor.post(url + query, urlencode(fields), FORM, REMOTE_ADDR=ADDRESS)

    return sending


def kept():
    return BetaFeedback.objects.get()


# --- Asking ----------------------------------------------------------------------------------------------------------


def test_page_names_product_and_programme(see):
    answer = see()
    assert answer.status_code == 200
    assert "Your feedback on Scoring 6" in Page(answer).text
    assert "Spring beta" in Page(answer).text


def test_programme_without_product_is_named_once(see, programme):
    programme.product = ""
    programme.save()
    assert "Your feedback on Spring beta Your feedback goes" in Page(see()).text


def test_query_prefills_page_version_and_participant(see):
    sends = Page(see("?page=/scoring%3Fa%3D1&version=6.0.3&participant=carol%22%3E")).sends
    assert (sends["page"], sends["app_version"], sends["participant"]) == ("/scoring?a=1", "6.0.3", 'carol">')


def test_new_form_is_empty_with_a_new_id(see):
    first, second = Page(see()).sends, Page(see()).sends
    assert first.pop("id") != second.pop("id")
    assert first == dict.fromkeys(("nps_score", "comment", "participant", "page", "app_version", "website"), "")


def test_fields_have_the_limits_and_choices_of_the_contract(see):
    shown = Page(see())
    longest = {
        "comment": contract.MAX_COMMENT,
        "participant": contract.MAX_PARTICIPANT,
        "page": contract.MAX_PAGE,
        "app_version": contract.MAX_VERSION,
    }
    assert {name: int(shown.by_id(name)["maxlength"]) for name in longest} == longest
    assert [each["value"] for each in shown.all("input", name="nps_score")] == [*map(str, range(11)), ""]
    assert {each["value"] for each in shown.all("input", name="type")} == set(BetaFeedback.Type.values)
    assert {each["value"] for each in shown.all("input", name="severity")} == set(BetaFeedback.Severity.values)


def test_every_field_has_a_label_and_existing_hints(see, send):
    for answer in (see(), send(participant=" ", comment="", page="x" * 201, app_version="x" * 65, type="x")):
        shown = Page(answer)
        labelled = {each.get("for") for each in shown.all("label")}
        alone = [each for tag in ("input", "textarea") for each in shown.all(tag) if each.get("type") != "radio"]
        hidden = ("hidden", "-1")
        assert {
            each.get("id") for each in alone if {each.get("type"), each.get("tabindex")}.isdisjoint(hidden)
        } <= labelled
        referred = [each["aria-describedby"] for _, each in shown.elements if "aria-describedby" in each]
        assert all(shown.by_id(identifier) for text in referred for identifier in text.split())
    groups = [each.get("role") for each in Page(see()).all("fieldset")]
    assert groups == ["radiogroup"] * 3
    assert len(Page(see()).all("legend")) == 3


def test_honeypot_is_hidden_from_people(see):
    trap = Page(see()).one("input", name=intake.HONEYPOT)
    assert (trap["tabindex"], trap["autocomplete"]) == ("-1", "off")
    assert Page(see()).one("div", **{"class": "trap", "aria-hidden": "true"})


def test_page_has_no_script_cookie_or_session(see, send, django_assert_num_queries):
    with django_assert_num_queries(1):
        see()
    for answer in (see(), see("?thanks=1"), send(), send(participant="")):
        assert answer.cookies == SimpleCookie()
        assert "Cookie" not in answer.get("Vary", "")
        assert b"<script" not in answer.content
        assert b"style=" not in answer.content


def test_no_answer_may_be_cached_or_indexed(see, send, visitor):
    refused = visitor.get("/feedback/nothing")
    for answer in (see(), see("?thanks=1"), send(), send(participant=""), refused, visitor.delete("/feedback/x")):
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Robots-Tag"] == "noindex"
    assert see()["Referrer-Policy"] == "same-origin"
    assert "form-action 'self'" in see()["Content-Security-Policy"]


# --- Sending ---------------------------------------------------------------------------------------------------------


def test_submitted_form_is_stored(send, programme):
    before = timezone.now()
    answer = send(type="bug", severity="high", nps_score="7", page="/scoring?a=1", app_version="6.0.3")
    assert answer.status_code == 303
    row = kept()
    assert (row.programme, row.source, row.participant) == (programme, "public", "carol")
    assert (row.type, row.severity, row.nps_score) == ("bug", "high", 7)
    assert (row.comment, row.page, row.app_version) == ("It stops.", "/scoring", "6.0.3")
    assert before <= row.given_at == row.received_at <= timezone.now()


def test_sender_is_thanked_with_a_link_to_a_new_form(send, see, url):
    answer = send("?lang=fr")
    assert answer["Location"] == f"{url}?lang=fr&thanks=1"
    assert Page(see("?lang=fr&thanks=1")).one("a", href=f"{url}?lang=fr")


@pytest.mark.parametrize(("score", "number"), [("0", 0), ("", None)])
def test_score_is_stored_and_no_answer_is_none(send, score, number):
    assert send(nps_score=score).status_code == 303
    assert kept().nps_score == number


def test_score_without_comment_is_accepted(send):
    assert send(nps_score="9", comment="").status_code == 303
    assert (kept().nps_score, kept().comment, kept().type) == (9, "", "other")


def test_severity_is_stored_for_bugs_only(send):
    send(type="feature", severity="critical")
    assert (kept().type, kept().severity) == ("feature", "")


def test_line_ends_of_browsers_become_newlines(send):
    send(comment="\r\none\r\ntwo\r\n")
    assert kept().comment == "\none\ntwo\n"


@pytest.mark.parametrize("comment", ["مرحبا 🎉 <script>alert(1)</script>", "李" * 100_000, "a\n" * 50_000])
def test_longest_comments_arrive_whole(send, comment):
    assert send(comment=comment.replace("\n", "\r\n")).status_code == 303
    assert kept().comment == comment


def test_form_sent_twice_is_stored_once_and_thanked_twice(send):
    number = str(uuid.uuid4())
    assert [send(id=number).status_code for _ in range(2)] == [303, 303]
    assert BetaFeedback.objects.count() == 1


def test_changed_form_with_a_known_id_is_refused_with_409_and_gets_a_new_id(send):
    number = str(uuid.uuid4())
    send(id=number)
    answer = send(id=number, comment="It stops, too.")
    assert answer.status_code == 409
    again = Page(answer)
    assert "already sent this form" in again.text
    assert again.sends["comment"] == "It stops, too."
    assert again.sends["id"] != number
    assert send(**again.sends).status_code == 303
    assert BetaFeedback.objects.count() == 2


def test_filled_honeypot_leaves_only_an_audit_event(send, programme):
    answer = send(website="https://spam.example.org")
    assert answer.status_code == 303
    assert not BetaFeedback.objects.exists()
    event = AuditEvent.objects.get(action="feedback.discarded")
    assert (event.subject, event.address) == (programme.subject, "")


@pytest.mark.parametrize("origin", ["", "https://testserver", "https://shop.example.org"])
def test_form_from_another_site_is_refused_with_403(visitor, programme, url, origin):
    """Nor can those that may send by the API: they have forms of their own."""
    programme.allowed_origins = "https://shop.example.org"
    programme.save()
    body = urlencode({"id": uuid.uuid4(), "participant": "carol", "comment": "x"})
    answer = visitor.post(url, body, FORM, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "This form can’t be submitted from another site" in Page(answer).text
    assert not BetaFeedback.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("origin", ["http://testserver", "https://vigie.example.org"])
def test_form_is_accepted_from_request_host_and_portal_url(visitor, url, settings, origin):
    settings.PORTAL_URL = "https://Vigie.example.org/portal"
    body = urlencode({"id": uuid.uuid4(), "participant": "carol", "comment": "x"})
    assert visitor.post(url, body, FORM, headers={"Origin": origin}).status_code == 303
    assert kept().source == "public"


# --- What is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filled", "field", "sentence"),
    [
        ({"participant": ""}, "participant", "Enter your name or e-mail address."),
        ({"participant": "agent:pc-7"}, "participant", "of at most 254 characters."),
        ({"comment": " "}, "comment", "Write something or choose a score."),
        ({"nps_score": "+7"}, "nps_score", "Choose one of the answers."),
        ({"type": "bug", "severity": "huge"}, "severity", "Choose one of the answers."),
        ({"page": "x" * 201}, "page", "This is too long. The limit is 200 characters."),
    ],
)
def test_wrong_answer_is_shown_at_the_top_and_at_its_field(send, filled, field, sentence):
    answer = send(**filled)
    assert answer.status_code == 400
    shown = Page(answer)
    assert shown.text.startswith("Not sent yet: ")
    assert [each["href"] for each in shown.all("a")] == [f"#{field}"]
    assert shown.one("div", role="alert", tabindex="-1")
    assert "on its way" not in shown.text
    assert sentence in shown.text
    assert shown.by_id(f"{field}-error")
    assert shown.by_id(field)
    (marked,) = [has for _, has in shown.elements if has.get("aria-invalid") == "true"]
    assert f"{field}-error" in marked["aria-describedby"].split()
    assert not BetaFeedback.objects.exists()


def test_all_errors_are_listed_in_the_order_of_the_page(send):
    shown = Page(send(participant="", comment="", page="x" * 201, type="x"))
    assert [each["href"] for each in shown.all("a")] == ["#type", "#comment", "#participant", "#page"]


def test_refused_form_keeps_all_input(send):
    typed = {
        "id": str(uuid.uuid4()), "participant": "agent:<b>", "type": "bug", "severity": "low", "nps_score": "3",
        "comment": "\r\n\r\n</textarea><b>\r\nمرحبا 🎉 ", "page": "/a?b", "app_version": '"6"', "website": "",
    }  # fmt: skip
    answer = send(**typed)
    assert Page(answer).sends == {**typed, "comment": typed["comment"].replace("\r\n", "\n")}
    assert b"<b>" not in answer.content


def test_corrected_form_keeps_its_id(send):
    number = str(uuid.uuid4())
    again = Page(send(id=number, participant="")).sends
    send(**{**again, "participant": "carol"})
    assert str(kept().feedback_id) == number


@pytest.mark.parametrize("number", ["", "x" * 32])
def test_form_with_an_invalid_id_gets_a_new_one(send, number):
    answer = send(id=number)
    assert answer.status_code == 400
    assert "The form was incomplete" in Page(answer).text
    assert send(**Page(answer).sends).status_code == 303


@pytest.mark.parametrize("body", [b"", b"\xff\xfe=%ff", b"participant=%00%ED%A0%80"])
def test_malformed_body_is_an_empty_form(visitor, url, body):
    assert visitor.post(url, body, FORM).status_code == 400


def test_too_large_a_body_is_refused_with_413_unread(visitor, url):
    answer = visitor.post(url, b"comment=" + b"x" * page.MAX_FORM_BYTES, FORM)
    assert answer.status_code == 413
    assert "This is too long" in Page(answer).text
    assert not FeedbackWindow.objects.exists()


def test_rate_limited_form_keeps_its_input_with_429(send, settings):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = 1
    send()
    answer = send(comment="More.")
    assert answer.status_code == 429
    assert 3000 < int(answer["Retry-After"]) <= 3600
    assert f"Try again in {-(-int(answer['Retry-After']) // 60)} minutes." in Page(answer).text
    assert Page(answer).sends["comment"] == "More."
    assert BetaFeedback.objects.count() == 1


def test_viewing_the_form_is_not_rate_limited(see, settings):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = 1
    assert [see().status_code for _ in range(3)] == [200] * 3


# --- Signed-in users --------------------------------------------------------------------------------------------------


def test_page_reads_no_session_of_a_user_without_second_factor(client, url, django_assert_num_queries):
    alice = User.objects.create_superuser("alice", "alice@example.org", PASSWORD)
    SecondFactorGrace.objects.create(user=alice, since=timezone.now() - timedelta(days=8))
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    with django_assert_num_queries(1):
        assert client.get(url).status_code == 200
    assert client.get("/admin/").url == "/accounts/2fa/"


# --- No form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["x" * 22, "%00"])
def test_unknown_key_shows_a_404_page(visitor, programme, key):
    answers = [visitor.get(f"/feedback/{key}"), visitor.post(f"/feedback/{key}", "comment=x", FORM)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert "Page not found" in Page(answers[0]).text


@pytest.mark.parametrize(
    "closed", [{"takes_public": False}, {"starts": timedelta(1)}, {"starts": timedelta(-9), "ends": timedelta(-1)}]
)
def test_closed_programme_shows_a_403_page_without_form(visitor, closed):
    today = timezone.localdate()
    fields = {name: today + value if isinstance(value, timedelta) else value for name, value in closed.items()}
    url = reverse("feedback-page", args=[create_programme(**fields).public_key])
    for answer in (visitor.get(url), visitor.post(url, "comment=", FORM), visitor.post(url, "comment=x", FORM)):
        assert answer.status_code == 403
        assert "This programme isn’t accepting feedback" in Page(answer).text
        assert not Page(answer).all("form")


def closed(programme):
    programme.takes_public = False
    programme.save()


def test_comment_typed_while_the_programme_closed_can_be_copied(visitor, url, programme, django_assert_num_queries):
    closed(programme)
    body = urlencode({"comment": "\r\n</textarea><b>\r\nمرحبا ", "participant": "carol"})
    with django_assert_num_queries(1):
        answer = visitor.post(url, body, FORM)
    assert answer.status_code == 403
    assert "\n\n&lt;/textarea&gt;&lt;b&gt;\nمرحبا </textarea>" in answer.content.decode()
    assert "readonly" in Page(answer).one("textarea")
    assert "You can copy it here" in Page(answer).text
    assert not FeedbackWindow.objects.exists()


def test_sender_is_thanked_although_the_programme_closed(send, visitor, programme):
    answer = send()
    closed(programme)
    assert "Thank you" in Page(visitor.get(answer["Location"])).text


def test_other_methods_are_refused_with_405(visitor, url):
    for method in (visitor.put, visitor.delete, visitor.options):
        assert method(url).status_code == 405


# --- Languages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [("", "fr-FR,fr;q=0.9", "fr"), ("", "de", "en"), ("?lang=en", "fr", "en"), ("?lang=tlh", "fr", "fr")],
)
def test_language_follows_the_query_then_the_browser(see, query, accepted, language):
    answer = see(query, **{"Accept-Language": accepted})
    assert Page(answer).one("html")["lang"] == answer["Content-Language"] == language


def test_language_links_keep_prefilled_values(see):
    shown = Page(see("?page=/a%26b&participant=carol&lang=fr", **{"Accept-Language": "en"}))
    links = {each["hreflang"]: each for each in shown.all("a")}
    assert links["en"]["href"] == "?page=%2Fa%26b&participant=carol&lang=en"
    assert ["aria-current" in links[code] for code in ("en", "fr")] == [False, True]


def test_refused_form_keeps_the_chosen_language(send, url):
    shown = Page(send("?lang=fr", participant=""))
    assert shown.one("html")["lang"] == "fr"
    assert shown.one("form")["action"] == f"{url}?lang=fr"


def test_language_of_a_request_does_not_leak_into_the_next(see):
    see("?lang=fr")
    assert Page(see()).one("html")["lang"] == "en"


# --- What is known of a visitor --------------------------------------------------------------------------------------


def test_nothing_of_a_visitor_is_stored_or_logged_but_the_feedback(
    visitor, url, send, caplog, capfd, written_when_asked
):
    caplog.set_level(0)
    typed = dict.fromkeys(("participant", "comment", "page", "app_version"), CANARY)
    for filled in (typed, {**typed, "participant": f"agent:{CANARY}"}, {**typed, "type": CANARY, "nps_score": CANARY}):
        send(**filled)
    query = urlencode({CANARY: CANARY, "participant": CANARY, "page": CANARY, "lang": CANARY})
    visitor.get(f"{url}?{query}", headers=HEADERS, REMOTE_ADDR=ADDRESS)
    visitor.get(f"/feedback/{CANARY}?{query}", headers=HEADERS, REMOTE_ADDR=ADDRESS)
    written_when_asked()
    rows = list(everything_kept())
    assert [row.split()[0] for row in rows if CANARY.lower() in row.lower()] == ["BetaFeedback"]
    assert not [row for row in rows if ADDRESS in row]
    lines = list(everything_logged(caplog, capfd))
    assert any("POST 303" in line for line in lines)
    assert not found(iter(lines))
    assert not [line for line in lines if ADDRESS in line]


def test_visits_are_tracked_without_a_user_even_if_signed_in(admin_client, url, written_when_asked):
    admin_client.get(url)
    admin_client.post(url, "comment=x", FORM)
    written_when_asked()
    visits = list(FeatureUsage.objects.values_list("user_email", "feature_name", "endpoint"))
    assert visits == [("", "feedback-page", "/feedback/<str:key>")] * 2
    assert list(UserError.objects.values_list("user_email", "error_type")) == [("", "validation_failed")]


def test_page_shows_no_feedback_of_others(see, send):
    send(participant=CANARY, comment=CANARY, nps_score="3")
    assert CANARY not in see().content.decode() + see("?thanks=1").content.decode()
