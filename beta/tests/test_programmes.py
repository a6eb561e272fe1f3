"""Which programme is meant."""

from datetime import date, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from beta import programmes
from beta.models import BetaProgramme
from beta.programmes import NoSuchProgramme, NotOneProgramme
from beta.tests.factories import create_programme

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def today():
    return timezone.localdate()


def test_name_is_matched_exactly_even_after_the_end(today):
    ended = create_programme(starts=today - 9 * DAY, ends=today - DAY)
    assert programmes.find_by_name("spring-beta") == ended
    with pytest.raises(NoSuchProgramme):
        programmes.find_by_name("Spring-Beta")


@pytest.mark.parametrize(("starts", "ends"), [(0, None), (-3, 0), (0, 0), (-3, 3)])
def test_without_a_name_the_only_running_programme_is_found(today, starts, ends):
    create_programme("ended", starts=today - 9 * DAY, ends=today - DAY)
    create_programme("to come", starts=today + DAY)
    running = create_programme(starts=today + starts * DAY, ends=None if ends is None else today + ends * DAY)
    assert programmes.find_by_name("") == running


@pytest.mark.parametrize(("days", "is_running"), [(-1, False), (0, True), (3, True), (4, False)])
def test_programme_runs_from_its_first_day_to_its_last(today, days, is_running):
    programme = BetaProgramme(starts=today, ends=today + 3 * DAY)
    assert programme.is_running(today + days * DAY) is is_running


def test_without_a_name_the_programme_of_that_day_is_found(today):
    ended = create_programme("ended", starts=today - 9 * DAY, ends=today - 5 * DAY)
    running = create_programme("running", starts=today - 3 * DAY)
    for ago, meant in ((9, ended), (5, ended), (3, running), (0, running)):
        assert (
            programmes.find_by_name("", today - ago * DAY)
            == programmes.find_or_create_for_feedback("", today - ago * DAY)
            == meant
        )
    for ago in (10, 4, -1):
        assert programmes.find_by_name("", today - ago * DAY) == running


def test_several_programmes_on_that_day_need_a_name(today):
    create_programme("one", starts=today - 9 * DAY, ends=today - DAY)
    create_programme("two", starts=today - 9 * DAY)
    with pytest.raises(NotOneProgramme) as refusal:
        programmes.find_by_name("", today - DAY)
    assert refusal.value.count == 2
    assert programmes.find_by_name("", today).name == "two"


def test_several_or_no_running_programmes_need_a_name():
    for expected in (0, 1, 2):
        if expected != 1:
            with pytest.raises(NotOneProgramme) as refusal:
                programmes.find_by_name("")
            assert refusal.value.count == expected
        create_programme(f"programme {expected}")


@pytest.mark.parametrize("name", ["", "default"])
def test_first_feedback_creates_the_default_programme(name, today):
    programme = programmes.find_or_create_for_feedback(name)
    assert (programme.name, programme.starts, programme.ends) == ("default", today, None)
    assert programmes.find_or_create_for_feedback(name) == programme


def test_no_programme_is_created_by_another_name_or_beside_another():
    with pytest.raises(NoSuchProgramme):
        programmes.find_or_create_for_feedback("spring-beta")
    create_programme(starts=date(2026, 1, 1), ends=date(2026, 1, 2))
    with pytest.raises(NotOneProgramme):
        programmes.find_or_create_for_feedback("")
    with pytest.raises(NoSuchProgramme):
        programmes.find_or_create_for_feedback("default")
    assert BetaProgramme.objects.count() == 1


def test_public_key_finds_its_programme_only():
    programme, other = create_programme(), create_programme("other")
    assert programme.public_key != other.public_key
    assert programmes.find_by_key(programme.public_key) == programme
    for key in ("", programme.public_key[:-1], f"{programme.public_key}\n", f"{programme.public_key}\0", "0" * 22):
        assert programmes.find_by_key(key) is None


def test_programme_that_ends_before_it_starts_is_invalid(today):
    programme = BetaProgramme(name="backwards", starts=today, ends=today - DAY)
    with pytest.raises(ValidationError) as refusal:
        programme.full_clean()
    assert set(refusal.value.error_dict) == {"ends"}


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize(
    "origins",
    [
        "https://www.example.org",
        "http://localhost:3000\nhttps://a.example.org\r\n",
        "",
        "http://[::1]:8080",
        "https://my_app.example.org",
        "https://xn--caf-dma.example.org:65535",
        "http://192.0.2.1:1",
        "https://_a.b_",
    ],
)
def test_origins_in_the_form_of_browsers_are_valid(origins):
    BetaProgramme(name="web", allowed_origins=origins).full_clean()


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "origins",
    [
        "*", "null", "www.example.org", "https://www.example.org/", "https://*.example.org", "https://Example.org",
        "https://example.org:443", "http://example.org:80", "ftp://example.org", "https://a.org, https://b.org",
        "https://user@example.org", "https://a..b", "https://.a", "https://a.", "https://-a.b", "https://a-.b",
        "https://a.org:99999", "https://a.org:65536", "https://a.org:0", "https://a.org:",
    ],
)  # fmt: skip
def test_origins_that_browsers_never_send_are_invalid(origins):
    with pytest.raises(ValidationError) as refusal:
        BetaProgramme(name="web", allowed_origins=origins).full_clean()
    assert set(refusal.value.error_dict) == {"allowed_origins"}


def test_renamed_programme_keeps_its_history():
    programme = create_programme()
    before = programme.subject
    programme.name = "renamed"
    assert programme.subject == before
