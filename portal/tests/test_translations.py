"""The French catalogue is complete and compiled."""

import gettext
import io
import re

import pytest
from django.utils import translation

from portal.tests import catalogue
from portal.tests.catalogue import MO, compiled, forms, texts, translated

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|{\w*}")
UPDATE = "run python -m portal.tests.catalogue"


def ids(message):
    return list(message.id) if isinstance(message.id, tuple) else [message.id]


@pytest.fixture(scope="module")
def french():
    return {(message.context, message.id): message for message in translated() if message.id}


@pytest.fixture(scope="module")
def wanted():
    return {(message.context, message.id) for message in texts() if message.id}


def test_every_text_has_a_translation(french, wanted):
    missing = [text for text in wanted if text not in french or not all(forms(french[text]))]
    assert not missing, UPDATE


def test_catalogue_has_no_obsolete_texts(french, wanted):
    assert french.keys() <= wanted, UPDATE


def test_catalogue_has_no_fuzzy_texts(french):
    assert not [message.id for message in french.values() if message.fuzzy]


def test_translation_has_the_same_placeholders(french):
    for message in french.values():
        expected = {frozenset(PLACEHOLDER.findall(text)) for text in ids(message)}
        for text in forms(message):
            assert frozenset(PLACEHOLDER.findall(text)) in expected, text


def test_french_typography(french):
    """Require no-break spaces before : ; ! ? and inside « », and the typographic apostrophe."""
    for message in french.values():
        for text in forms(message):
            assert not re.search(r"(?<![\u00a0:/])[:;!?](?:\s|$)|« | »|\w'\w", text), text


def test_texts_are_free_of_markdown(wanted):
    assert [text for text in wanted if "`" in str(text)] == []


def test_compiled_catalogue_is_up_to_date():
    def read(data):
        return gettext.GNUTranslations(io.BytesIO(data))._catalog

    fresh, kept = read(compiled(translated())), read(MO.read_bytes())
    assert {key: value for key, value in fresh.items() if key} == {key: value for key, value in kept.items() if key}, (
        UPDATE
    )


def test_texts_are_found_in_code_and_templates(wanted):
    for text in ("Revoke", "Needs attention", "%(time)s ago", ("%(count)s failed", "%(count)s failed")):
        assert (None, text) in wanted


def test_text_with_a_context_is_translated_by_its_context(monkeypatch):
    code = 'pgettext("button", "Change")\npgettext("column", "Change")\ngettext("Change")\n'
    monkeypatch.setattr(catalogue, "sources", lambda: iter([("admin.py", code.encode())]))
    assert {(message.context, message.id) for message in texts() if message.id} == {
        ("button", "Change"),
        ("column", "Change"),
        (None, "Change"),
    }


def test_admin_is_served_in_french():
    with translation.override("fr"):
        assert translation.gettext("Needs attention") == "À traiter"
        assert translation.ngettext("%(count)d token was revoked.", "%(count)d tokens were revoked.", 2).startswith(
            "%(count)d jetons"
        )
