"""The interface is written in plain words: no text of it contains a term that tests/words.toml lists.

Texts are those of the catalogue (templates, forms, messages, mails), and the help and output of commands.
"""

import ast
import functools
import re
import tomllib

import pytest

from portal.tests.catalogue import ROOT, marked_texts, translated

RULES = tomllib.loads((ROOT / "tests" / "words.toml").read_text(encoding="utf-8"))
APPS = ["agents", "backups", "beta", "client", "demo", "monitoring", "portal", "usage"]
# What a command prints, and what a system check says, is written in the arguments of these.
SPOKEN_CALLS = {"CommandError", "Critical", "Error", "Info", "Warning", "add_parser", "print", "write"}
SPOKEN_ARGUMENTS = {"description", "epilog", "help", "hint"}


@functools.cache
def english():
    """Return file and text of everything that each app says in English."""
    found = {app: list(unmarked_texts(app)) for app in APPS}
    for name, _function, messages in marked_texts():
        texts = messages if isinstance(messages, tuple) else [messages]
        found[name.split("/")[0]] += [(name, text) for text in texts if isinstance(text, str)]
    return found


def unmarked_texts(app):
    for path in sorted((ROOT / app).rglob("*.py")):
        if not {"tests", "migrations", "vendor"} & set(path.relative_to(ROOT).parts):
            for text in spoken(ast.parse(path.read_text(encoding="utf-8"))):
                yield str(path.relative_to(ROOT)), text


def spoken(tree):
    """Yield the untranslated texts of a module that a command prints or a check reports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = node.args if name in SPOKEN_CALLS else []
            said = [*said, *(keyword.value for keyword in node.keywords if keyword.arg in SPOKEN_ARGUMENTS)]
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "help" for target in node.targets):
            said = [node.value]
        else:
            said = []
        yield from (text for value in said if (text := literal(value)))


def literal(node):
    """Return the text of a string literal, with {} for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def offences(text, language):
    if text in RULES["exceptions"]:
        return []
    # Identifiers stay as they are: settings, options, commands in backquotes, placeholders.
    prose = re.sub(r"`[^`]*`|%\(\w+\)[sdg]|\{[^}]*\}|\b[A-Z]+_[A-Z_]+\b|--[\w-]+", "…", text)
    return [
        f"“{found.group()}”: {instead}"
        for pattern, instead in RULES[language].items()
        if (found := re.search(pattern, prose, re.IGNORECASE))
    ]


@pytest.fixture(scope="module")
def french():
    return [message for message in translated() if message.id]


@pytest.mark.parametrize("app", APPS)
def test_english_text_has_no_discouraged_term(app):
    found = {(name, text, offence) for name, text in english()[app] for offence in offences(text, "english")}
    assert sorted(found) == []


@pytest.mark.parametrize("app", [app for app in APPS if app not in ("client", "demo")])
def test_french_text_has_no_discouraged_term(app, french):
    messages = [each for each in french if any(name.startswith(f"{app}/") for name, _line in each.locations)]
    found = [
        (text, offence)
        for message in messages
        for text in ([message.string] if isinstance(message.string, str) else message.string)
        for offence in offences(text, "french")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "Nobody is told of anything"),
        ("english", "Runs a day"),
        ("english", "How it stands"),
        ("english", "Enroll a machine"),
        ("french", "1 bogue est sans gravité depuis 2 jours"),
    ],
)
def test_discouraged_term_is_found(language, text):
    assert offences(text, language)


@pytest.mark.parametrize(
    "text",
    ["Status", "No one gets alerts", "How serious is it?", "Relative to DEPOSITS_ROOT", "Run `vigie-client deposit`"],
)
def test_plain_words_are_accepted(text):
    assert offences(text, "english") == []


def test_each_exception_has_a_reason_and_is_in_use(french):
    texts = {text for found in english().values() for _name, text in found}
    texts |= {text for message in french for text in [message.string] if isinstance(text, str)}
    assert all(RULES["exceptions"].values())
    assert [text for text in RULES["exceptions"] if text not in texts] == []
