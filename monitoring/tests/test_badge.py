"""Badges: what they show to everybody, and how they are given out and taken back."""

from xml.etree import ElementTree

import pytest
from django.utils import translation

from monitoring.figures import badge
from monitoring.models import Target
from monitoring.tests.factories import DAY, NOON, create_rollup, create_target

pytestmark = pytest.mark.django_db
SVG = "{http://www.w3.org/2000/svg}"
TODAY = NOON.replace(hour=0)
HOSTILE = "</text><script>alert(1)</script>\"'&amp;"


def parsed(target):
    return ElementTree.fromstring(badge.render_badge(target, NOON))


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
def test_badge_shows_the_state(fields, message, colour):
    target = create_target("API", **fields)
    create_rollup(target, "day", TODAY, checks=1_000, failures=2)
    create_rollup(target, "day", TODAY - 29 * DAY, checks=1_000)
    create_rollup(target, "day", TODAY - 30 * DAY, checks=1_000, failures=1_000)
    assert texts(target) == ["API", message]
    assert fills(target) == [colour, badge.LABEL]


def test_badge_without_uptime_shows_up():
    assert texts(create_target("API", state="up")) == ["API", "up"]


def test_badge_is_in_the_active_language():
    target = create_target("API", state="up")
    create_rollup(target, "day", TODAY, checks=1_000, failures=1)
    with translation.override("fr"):
        assert "99,90" in texts(target)[1]


def test_badge_has_a_text_alternative():
    root = parsed(create_target("API", state="down"))
    assert root.find(f"{SVG}title").text == root.get("aria-label") == "API: down"
    assert root.get("role") == "img"


def test_badge_shows_only_name_state_and_uptime():
    target = create_target("API", state="down", last_detail="ECONNREFUSED", last_error_kind="connect")
    picture = badge.render_badge(target, NOON)
    assert not [text for text in ("example.org", "ECONNREFUSED", "connect", str(target.interval)) if text in picture]


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize("name", [HOSTILE, "a\x00b\x0bc\ud800d\ufffe", "{label}{0}%s", "]]>", "<!--"])
def test_badge_escapes_the_name(name):
    root = ElementTree.fromstring(badge.draw_badge(name, name, badge.GREY))
    shown = badge.UNWRITABLE.sub("\ufffd", name)
    assert [element.text for element in root.iter(f"{SVG}text")] == [shown, shown]
    assert root.find(f".//{SVG}script") is None


def test_badge_has_no_style_or_script():
    picture = badge.render_badge(create_target(HOSTILE, state="up"), NOON)
    assert "style" not in picture
    assert "<script" not in picture


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize("name", ["i", "W" * 100, "i" * 100, "監視" * 50, "e\u0301" * 50, "مراقبة", "Ünïcödé ✓"])
def test_any_name_fits_the_badge(name):
    root = ElementTree.fromstring(badge.draw_badge(name, "up 99.95 %", badge.GREEN))
    fields = [(float(rect.get("x", 0)), float(rect.get("width"))) for rect in root.iter(f"{SVG}rect")]
    (_, whole), (_, label), (edge, corner) = fields
    for text, (left, right) in zip(root.iter(f"{SVG}text"), [(0, label), (label, whole)], strict=True):
        middle, length = float(text.get("x")), float(text.get("textLength"))
        assert (left + badge.MARGIN, right - badge.MARGIN) == (middle - length / 2, middle + length / 2)
    assert float(root.get("width")) == whole
    assert edge + corner == label


def test_badges_have_no_ids():
    assert " id=" not in badge.draw_badge("API", "down", badge.RED)


def test_wider_letters_get_more_room():
    assert badge.text_pixels("iii") < badge.text_pixels("aaa") < badge.text_pixels("AAA") < badge.text_pixels("WWW")
    assert badge.text_pixels("e\u0301") == badge.text_pixels("e")
    assert badge.text_pixels("監視") > badge.text_pixels("AA")


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_publishing_gives_a_key_to_each_target_without_one():
    known = create_target(badge_key="K" * 22)
    create_target()
    create_target()
    assert badge.publish_badges(Target.objects.all()) == 2
    assert badge.publish_badges(Target.objects.all()) == 0
    keys = set(Target.objects.values_list("badge_key", flat=True))
    assert len(keys) == 3
    assert all(len(key) >= 16 and key.isalnum() and key.isascii() for key in keys)
    known.refresh_from_db()
    assert known.badge_key == "K" * 22


def test_publishing_leaves_other_targets_alone():
    one, other = create_target(), create_target()
    badge.publish_badges(Target.objects.filter(pk=one.pk))
    other.refresh_from_db()
    assert other.badge_key is None


def test_revoked_address_is_gone_and_a_new_key_differs():
    target = create_target()
    badge.publish_badges(Target.objects.all())
    target.refresh_from_db()
    first = target.badge_key
    assert badge.revoke_badges(Target.objects.all()) == 1
    assert badge.revoke_badges(Target.objects.all()) == 0
    assert badge.find_published(first) is None
    badge.publish_badges(Target.objects.all())
    target.refresh_from_db()
    assert target.badge_key != first


def test_badge_address_is_absolute(settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    assert badge.badge_url(create_target()) == ""
    target = create_target(badge_key="Kk0123456789abcdefghij")
    assert badge.badge_url(target) == "https://vigie.example.org/api/v1/monitoring/badges/Kk0123456789abcdefghij.svg"


# --- Over HTTP -------------------------------------------------------------------------------------------------------


def test_badge_needs_no_credentials(call):
    create_target("API", state="down", badge_key="K" * 22)
    answer = call("GET", f"monitoring/badges/{'K' * 22}.svg", headers={"Accept": "image/avif,image/png"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers
    assert ElementTree.fromstring(answer.content).get("aria-label") == "API: down"


def test_served_badge_is_in_the_portals_language(call, settings):
    target = create_target("API", state="up", badge_key="K" * 22)
    create_rollup(target, "day", TODAY.replace(year=2099), checks=1_000, failures=1)
    settings.LANGUAGE_CODE = "fr"
    path = f"monitoring/badges/{'K' * 22}.svg"
    assert "99,90" in call("GET", path, headers={"Accept-Language": "en"}).content.decode()


def test_badge_ignores_tokens(call):
    create_target(badge_key="K" * 22)
    assert call("GET", f"monitoring/badges/{'K' * 22}.svg", "nonsense").status_code == 200


@pytest.mark.parametrize("key", ["K" * 21, "k" * 22, "K" * 23, "x", "%00" * 16, "K" * 15 + "-", "é" * 16, "None"])
def test_unknown_badge_key_is_404(call, key):
    create_target(badge_key="K" * 22)
    create_target(badge_key=None)
    answer = call("GET", f"monitoring/badges/{key}.svg")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_malformed_badge_key_takes_no_query(call, django_assert_num_queries):
    with django_assert_num_queries(0):
        call("GET", "monitoring/badges/x.svg")


def test_badge_allows_only_reading(call):
    create_target(badge_key="K" * 22)
    assert call("POST", f"monitoring/badges/{'K' * 22}.svg").status_code == 405
