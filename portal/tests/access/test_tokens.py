"""Token format and token storage."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.access.tokens import credential, peppers
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken

NOON, INSTANT = datetime(2026, 3, 10, 12, tzinfo=UTC), timedelta(microseconds=1)


def test_new_token_has_the_documented_form():
    text = str(credential.mint_token("agent"))
    assert re.fullmatch(r"vigie_agent_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", text)
    assert str(credential.parse_token(text)) == text


@pytest.mark.parametrize("position", [13, 26, 40, 69, 74])
def test_mistyped_character_is_detected_without_a_query(position):
    text = str(credential.mint_token("agent"))
    other = "A" if text[position] != "A" else "B"
    assert credential.parse_token(text[:position] + other + text[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "vigie_agent_", "Bearer x", "vigie_root_" + "a" * 60, "é" * 75, "x" * 10_000])
def test_malformed_token_parses_to_none(text):
    assert credential.parse_token(text) is None


def test_secret_appears_in_no_repr_and_no_redacted_text():
    token = credential.mint_token("staff")
    assert token.secret not in repr(token)
    for text in (str(token), str(token)[:40], f"Authorization: Bearer {token}, more"):
        assert token.secret[:10] not in credential.TOKEN_IN_TEXT.sub(r"\1_…", text)


def test_checksum_is_six_base62_digits_of_the_crc():
    assert credential.token_checksum("vigie") == credential.token_checksum("vigie")
    assert credential.token_checksum("") == "000000"
    assert len(credential.token_checksum("x")) == 6


def test_token_is_expired_from_the_very_moment_on():
    token = ApiToken(expires_at=NOON)
    assert [token.is_expired(NOON - INSTANT), token.is_expired(NOON)] == [False, True]


@pytest.mark.django_db
def test_only_the_digest_is_stored(settings):
    token, plain = issue_token("client", label="gui")
    secret = plain.split("_")[3]
    assert secret not in str(list(ApiToken.objects.values()))
    assert len(token.digest) == 64


@pytest.mark.django_db
def test_old_pepper_verifies_its_tokens_until_it_is_removed(settings, call):
    settings.TOKEN_PEPPERS = peppers.parse_peppers("1:" + "a" * 40)
    old = issue_token("client", label="gui")[1]
    settings.TOKEN_PEPPERS = peppers.parse_peppers("2:" + "b" * 40 + ",1:" + "a" * 40)
    new, newer = issue_token("client", label="gui")
    assert new.pepper_version == 2
    for token in (old, newer):
        assert call("POST", "usage/report", token).json()["code"] == "validation_failed"
    settings.TOKEN_PEPPERS = peppers.parse_peppers("2:" + "b" * 40)
    assert call("POST", "usage/report", old).json()["code"] == "invalid_token"


@pytest.mark.parametrize("text", ["short", "1:" + "a" * 40 + ",1:" + "b" * 40, "a" * 40 + ","])
def test_invalid_pepper_is_named_in_the_error(text):
    with pytest.raises(ImproperlyConfigured, match="TOKEN_PEPPER"):
        peppers.parse_peppers(text)
