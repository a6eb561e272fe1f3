"""The profile page: name, language and time zone of the reader."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.base.words import format_moment, set_readers_zone
from portal.desk.profile import ProfileForm, zone_choices
from portal.models import AuditEvent, OutboxMessage, Preferences
from portal.tests.helpers.admin_pages import page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("the profile")]
PROFILE, MESSAGES = "/admin/profile/", "/admin/portal/outboxmessage/"
AT = datetime(2026, 1, 10, 23, 30, tzinfo=UTC)
CHOICES = {"first_name": "Ada", "last_name": "L.", "time_zone": "Africa/Douala", "language": "fr"}


@pytest.fixture
def message():
    return OutboxMessage.objects.create(
        channel="email:1",
        recipient="a@example.org",
        subject="x",
        severity=1,
        title="Late",
        dedupe_key="1",
        created_at=AT,
    )


def test_saved_profile_changes_name_zone_and_language(admin_client, message):
    assert "2026-01-10 23:30:00 UTC" in page_text(admin_client.get(MESSAGES))
    assert admin_client.post(PROFILE, CHOICES).status_code == 302
    text = page_text(admin_client.get(MESSAGES))
    assert "2026-01-11 00:30:00 WAT" in text
    assert '<html lang="fr"' in text
    assert ">Ada L.</a>" in text


def test_changed_name_is_audited_once(admin_client):
    for first_name in ("Ada", "Ada", "Eve"):
        admin_client.post(PROFILE, CHOICES | {"first_name": first_name, "last_name": ""})
    first, second = AuditEvent.objects.filter(action="user.changed").order_by("pk")
    assert (first.actor, first.subject) == ("user:admin", "user:admin")
    assert (first.before, first.after) == ({"first_name": ""}, {"first_name": "Ada"})
    assert (second.before, second.after) == ({"first_name": "Ada"}, {"first_name": "Eve"})


def test_saved_profile_keeps_what_an_administrator_changed_meanwhile(admin_client, monkeypatch):
    def clean(form):
        User.objects.update(is_superuser=False, is_active=False, password="new")

    monkeypatch.setattr(ProfileForm, "clean", clean)
    admin_client.post(PROFILE, CHOICES)
    user = User.objects.get()
    assert (user.first_name, user.is_superuser, user.is_active, user.password) == ("Ada", False, False, "new")


def test_preferences_of_another_version_are_read(admin_client):
    session = admin_client.session
    session["preferences"] = {"time_zone": "Africa/Douala", "density": "compact"}
    session.save()
    assert admin_client.get(PROFILE).context["form"].initial["time_zone"] == "Africa/Douala"


def test_zone_of_one_user_is_not_kept_for_the_next_request_of_the_thread(admin_client, client, message):
    admin_client.post(PROFILE, CHOICES)
    assert "WAT" in page_text(admin_client.get(MESSAGES))
    client.force_login(User.objects.create_superuser("eve"))
    assert "2026-01-10 23:30:00 UTC" in page_text(client.get(MESSAGES))


def test_language_chosen_in_the_browser_comes_before_the_profile(admin_client):
    admin_client.post(PROFILE, CHOICES)
    admin_client.post("/i18n/setlang/", {"language": "en", "next": PROFILE})
    assert '<html lang="en"' in page_text(admin_client.get(PROFILE))


def test_preferences_cost_a_page_no_query(admin_client):
    admin_client.post(PROFILE, CHOICES)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(MESSAGES)
    assert not [query["sql"] for query in queries if "preferences" in query["sql"]]


@pytest.mark.parametrize("field", ["time_zone", "language"])
def test_unknown_choice_is_refused(admin_client, field):
    response = admin_client.post(PROFILE, CHOICES | {field: "Mars/Olympus"})
    assert response.status_code == 200
    assert not Preferences.objects.exists()


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("", "2026-01-10 23:30:00 UTC"),
        ("Europe/Paris", "2026-01-11 00:30:00 CET"),
        ("Asia/Dubai", "2026-01-11 03:30:00 UTC+04"),
        ("../etc/passwd", "2026-01-10 23:30:00 UTC"),
    ],
)
def test_moment_is_shown_in_the_readers_zone_with_its_abbreviation(zone, text):
    set_readers_zone(zone)
    try:
        assert format_moment(AT) == text
    finally:
        set_readers_zone("")


def test_zones_are_grouped_by_region_after_the_portals_and_the_readers(settings):
    settings.TIME_ZONE = "Europe/Paris"
    choices = zone_choices("Africa/Douala")
    assert choices[:3] == [
        ("", "The portal’s (Europe/Paris)"),
        ("Africa/Douala", "Africa/Douala"),
        ("UTC", "UTC"),
    ]
    regions = dict(choices[3:])
    assert list(regions)[:3] == ["Africa", "America", "Antarctica"]
    assert ("America/Argentina/Buenos_Aires", "Argentina/Buenos Aires") in regions["America"]
    names = [name for zones in regions.values() for name, _place in zones]
    assert len(names) == len(set(names)) > 400
    assert not {"Africa/Douala", "UTC", "US/Eastern", "Etc/GMT"} & set(names)


def test_old_name_of_a_zone_stays_chosen(admin_client):
    admin_client.post(PROFILE, CHOICES)
    Preferences.objects.update(time_zone="US/Eastern")
    session = admin_client.session
    session["preferences"] = {"time_zone": "US/Eastern"}
    session.save()
    assert '<option value="US/Eastern" selected>US/Eastern</option>' in page_text(admin_client.get(PROFILE))
    assert admin_client.post(PROFILE, CHOICES | {"time_zone": "US/Eastern"}).status_code == 302
