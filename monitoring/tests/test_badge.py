"""Badges: what they show to everybody, and how they are given out and taken back."""

from xml.etree import ElementTree

import pytest
from django.utils import translation

from monitoring.figures import badge
from monitoring.models import Target
from monitoring.tests.rolled import DAY, NOON, a_target, rollup

pytestmark = pytest.mark.django_db
SVG = "{http://www.w3.org/2000/svg}"
TODAY = NOON.replace(hour=0)
HOSTILE = "</text><script>alert(1)</script>\"'&amp;"


def parsed(target):
    return ElementTree.fromstring(badge.svg(target, NOON))


def texts(target):
    """The name and what is said of it."""
    return [element.text for element in parsed(target).iter(f"{SVG}text")]


def fills(target):
    """The colours of the right field and of the left one."""
    return [element.get("fill") for element in parsed(target).iter(f"{SVG}rect")][:2]


# --- What it shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message", "colour"),
    [
        ({"state": "up"}, "up 99.90 %", badge.GREEN),
        ({"state": "failing"}, "up 99.90 %", badge.GREEN),
        ({"state": "slow"}, "slow 99.90 %", badge.AMBER),
        ({"state": "down"}, "down", badge.RED),
        ({"state": "unknown"}, "no data", badge.GREY),
        ({"state": "up", "is_active": False}, "paused", badge.GREY),
        ({"state": "down", "is_active": False}, "paused", badge.GREY),
    ],
)
def test_a_badge_says_how_the_target_stands(fields, message, colour):
    target = a_target("API", **fields)
    rollup(target, "day", TODAY, checks=1_000, failures=2)
    rollup(target, "day", TODAY - 29 * DAY, checks=1_000)
    rollup(target, "day", TODAY - 30 * DAY, checks=1_000, failures=1_000)
    assert texts(target) == ["API", message]
    assert fills(target) == [colour, badge.LABEL]


def test_what_is_up_without_figures_is_up():
    assert texts(a_target("API", state="up")) == ["API", "up"]


def test_it_speaks_the_language_of_the_moment():
    target = a_target("API", state="up")
    rollup(target, "day", TODAY, checks=1_000, failures=1)
    with translation.override("fr"):
        assert "99,90" in texts(target)[1]


def test_a_screen_reader_is_told_the_same():
    root = parsed(a_target("API", state="down"))
    assert root.find(f"{SVG}title").text == root.get("aria-label") == "API: down"
    assert root.get("role") == "img"


def test_it_tells_nothing_but_name_state_and_uptime():
    target = a_target("API", state="down", last_detail="ECONNREFUSED", last_error_kind="connect")
    picture = badge.svg(target, NOON)
    assert not [text for text in ("example.org", "ECONNREFUSED", "connect", str(target.interval)) if text in picture]


@pytest.mark.parametrize("name", [HOSTILE, "a\x00b\x0bc\ud800d\ufffe", "{label}{0}%s", "]]>", "<!--"])
def test_a_name_is_text_whatever_stands_in_it(name):
    root = ElementTree.fromstring(badge.drawn(name, name, badge.GREY))
    shown = badge.UNWRITABLE.sub("\ufffd", name)
    assert [element.text for element in root.iter(f"{SVG}text")] == [shown, shown]
    assert root.find(f".//{SVG}script") is None


def test_there_is_neither_style_nor_script_in_it():
    picture = badge.svg(a_target(HOSTILE, state="up"), NOON)
    assert "style" not in picture
    assert "<script" not in picture


@pytest.mark.parametrize("name", ["i", "W" * 100, "i" * 100, "監視" * 50, "e\u0301" * 50, "مراقبة", "Ünïcödé ✓"])
def test_any_name_fits_its_field(name):
    root = ElementTree.fromstring(badge.drawn(name, "up 99.95 %", badge.GREEN))
    fields = [(float(rect.get("x", 0)), float(rect.get("width"))) for rect in root.iter(f"{SVG}rect")]
    (_, whole), (_, label), (edge, corner) = fields
    for text, (left, right) in zip(root.iter(f"{SVG}text"), [(0, label), (label, whole)], strict=True):
        middle, length = float(text.get("x")), float(text.get("textLength"))
        assert (left + badge.MARGIN, right - badge.MARGIN) == (middle - length / 2, middle + length / 2)
    assert float(root.get("width")) == whole
    assert edge + corner == label


def test_pictures_on_one_page_share_no_ids():
    assert " id=" not in badge.drawn("API", "down", badge.RED)


def test_wider_letters_get_more_room():
    assert badge.width_of("iii") < badge.width_of("aaa") < badge.width_of("AAA") < badge.width_of("WWW")
    assert badge.width_of("e\u0301") == badge.width_of("e")
    assert badge.width_of("監視") > badge.width_of("AA")


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_publishing_gives_a_key_to_each_that_has_none():
    known = a_target(badge_key="K" * 22)
    a_target()
    a_target()
    assert badge.publish(Target.objects.all()) == 2
    assert badge.publish(Target.objects.all()) == 0
    keys = set(Target.objects.values_list("badge_key", flat=True))
    assert len(keys) == 3
    assert all(len(key) >= 16 and key.isalnum() and key.isascii() for key in keys)
    known.refresh_from_db()
    assert known.badge_key == "K" * 22


def test_publishing_some_leaves_the_others_alone():
    one, other = a_target(), a_target()
    badge.publish(Target.objects.filter(pk=one.pk))
    other.refresh_from_db()
    assert other.badge_key is None


def test_revoking_ends_the_address_and_a_new_key_is_another():
    target = a_target()
    badge.publish(Target.objects.all())
    target.refresh_from_db()
    first = target.badge_key
    assert badge.revoke(Target.objects.all()) == 1
    assert badge.revoke(Target.objects.all()) == 0
    assert badge.published(first) is None
    badge.publish(Target.objects.all())
    target.refresh_from_db()
    assert target.badge_key != first


def test_its_address_is_absolute(settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    assert badge.badge_url(a_target()) == ""
    target = a_target(badge_key="Kk0123456789abcdefghij")
    assert badge.badge_url(target) == "https://vigie.example.org/api/v1/monitoring/badges/Kk0123456789abcdefghij.svg"


# --- Over HTTP -------------------------------------------------------------------------------------------------------


def test_everybody_may_look_at_a_badge(call):
    a_target("API", state="down", badge_key="K" * 22)
    answer = call("GET", f"monitoring/badges/{'K' * 22}.svg", headers={"Accept": "image/avif,image/png"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers
    assert ElementTree.fromstring(answer.content).get("aria-label") == "API: down"


def test_a_badge_speaks_the_language_of_the_portal(call, settings):
    target = a_target("API", state="up", badge_key="K" * 22)
    rollup(target, "day", TODAY.replace(year=2099), checks=1_000, failures=1)
    settings.LANGUAGE_CODE = "fr"
    path = f"monitoring/badges/{'K' * 22}.svg"
    assert "99,90" in call("GET", path, headers={"Accept-Language": "en"}).content.decode()


def test_a_token_of_any_kind_is_not_even_looked_at(call):
    a_target(badge_key="K" * 22)
    assert call("GET", f"monitoring/badges/{'K' * 22}.svg", "nonsense").status_code == 200


@pytest.mark.parametrize("key", ["K" * 21, "k" * 22, "K" * 23, "x", "%00" * 16, "K" * 15 + "-", "é" * 16, "None"])
def test_an_address_that_leads_nowhere_is_a_problem(call, key):
    a_target(badge_key="K" * 22)
    a_target(badge_key=None)
    answer = call("GET", f"monitoring/badges/{key}.svg")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_malformed_key_costs_no_query(call, django_assert_num_queries):
    with django_assert_num_queries(0):
        call("GET", "monitoring/badges/x.svg")


def test_a_badge_is_only_read(call):
    a_target(badge_key="K" * 22)
    assert call("POST", f"monitoring/badges/{'K' * 22}.svg").status_code == 405
