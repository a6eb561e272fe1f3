"""Update and compile the French catalogue without GNU gettext.

    python -m portal.tests.catalogue

updates django.po (new texts get an empty translation, obsolete ones are removed) and compiles django.mo.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "portal" / "locale" / "fr" / "LC_MESSAGES"
PO, MO = DIRECTORY / "django.po", DIRECTORY / "django.mo"
PLURALS = ("ngettext", "ngettext_lazy")
CONTEXTS = ("pgettext", "pgettext_lazy")
FUNCTIONS = dict.fromkeys(("_", "_now", "gettext", "gettext_lazy", "gettext_noop", *PLURALS, *CONTEXTS))


def sources() -> Iterator[tuple[str, bytes]]:
    """Yield name and Python source of every file with texts, templates as Django's `templatize` renders them."""
    for app in sorted(path.parent for path in ROOT.glob("*/apps.py")):
        for path in sorted(app.rglob("*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(app).parts):
                yield str(path.relative_to(ROOT)), path.read_bytes()
        for path in sorted([*app.rglob("templates/**/*.html"), *app.rglob("templates/**/*.txt")]):
            text = templatize(path.read_text(encoding="utf-8"), origin=str(path))
            # Indentation means nothing in a template, but Python would reject it.
            lines = (line.strip() for line in text.splitlines())
            yield str(path.relative_to(ROOT)), "\n".join(lines).encode()


def marked_texts() -> Iterator[tuple[str, str, Any]]:
    """Yield the file, the function and the arguments of each text marked for translation."""
    # Babel's tokens are slow, so it reads only the files that call one of the functions.
    marks = re.compile(rf"\b(?:{'|'.join(FUNCTIONS)})\s*\(".encode())
    for name, source in sources():
        if marks.search(source):
            found = extract_python(io.BytesIO(source), FUNCTIONS, (), {"encoding": "utf-8"})
            for _line, function, messages, _comments in found:
                yield name, str(function), messages


def texts() -> Catalog:
    """Return the catalogue of all texts marked for translation."""
    catalogue = Catalog(locale="fr", domain="django")
    for name, function, messages in marked_texts():
        context = messages[0] if function in CONTEXTS else None
        text = messages[1] if context else message_id(function, messages)
        if text:
            catalogue.add(text, locations=[(name, 0)], context=context)
    return catalogue


def message_id(function: str, messages: Any) -> Any:
    if function in PLURALS:
        return tuple(messages[:2])
    return messages if isinstance(messages, str) else next(iter(messages or ()), None)


def translated() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="fr")


def compiled(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def update() -> int:
    """Update and compile the catalogue; return how many texts have no translation yet."""
    catalogue = translated()
    catalogue.update(texts(), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    catalogue.last_translator, catalogue.language_team, catalogue.msgid_bugs_address = "Vigie", "fr", ""
    with PO.open("wb") as file:
        write_po(file, catalogue, width=120, include_lineno=False, sort_output=True, omit_header=False)
    MO.write_bytes(compiled(catalogue))
    return sum(not all(forms(message)) for message in catalogue if message.id)


def forms(message: Any) -> list[str]:
    """Return the translations of a message: one, or one for each plural form."""
    return list(message.string) if isinstance(message.string, (tuple, list)) else [message.string]


if __name__ == "__main__":
    sys.stdout.write(f"{update()} texts without a translation\n")
