"""Whose data it is: by which names it is kept, and how they are told from those of others in any text."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils.html import escape

from portal.base.text import normalize_text
from portal.models import ApiToken

ADDRESS = re.compile(r"(?=.{3,254}\Z)[^\s@<>\"(),:;\[\]\\\x00-\x1f]{1,64}@[^\s@<>\"(),:;\[\]\\/\x00-\x1f]+[^\s.@]")
MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
USER = re.compile(r"user:([\w.@+-]{1,150})")
PARTICIPANT = re.compile(r"participant:\s*(\S.{0,253})")
# What stands before a name where it says what kind of name it is: `agent:PC-1`, `backup:PC-1/stock`.
KINDS = ("agent", "client", "enroll", "staff", "user", "token", "backup")
# What stands before a person's name, and which of these never stands before a machine's.
PERSONAL = ("user", "staff", "client", "enroll")
NEVER_MACHINES = frozenset({"user", "staff", "client"})
# What is drawn above or below a letter, and may stand behind it instead of being a part of it.
MARKS = "\u0300-\u036f"
FORMS: Final = ("NFC", "NFD")
# Longer than any name that is kept, also as it stands in HTML.
LONGEST_NAME = 2_048
LETTER = re.compile(f".[{MARKS}]*", re.DOTALL)
# Of a name, what no encoding of JSON writes otherwise, and no other form of its letters.
PLAIN = re.compile(f"[A-Za-z0-9@._+-]+(?![{MARKS}])")
# What is not seen (the category Cf) and may stand between two letters.
UNSEEN = "[\xad\u0600-\u0605\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*"
APOSTROPHES = "'\u2019"
# Where a name begins and ends. It may have an @ of its own: `ask @carol`.
BEFORE = r"(?<![\w.+-])(?<![\w.+-]@)"
AFTER = rf"(?![\w@+{MARKS}-]|\.\w)"
# What says who somebody is where it stands beside an address in JSON.
BESIDE = {"user_email": ("user_name", "user_id", "hostname")}
CASED = 3


class InvalidSubject(ValueError):
    """What was given names nobody; the text says what is expected."""


@dataclass(frozen=True)
class Subject:
    """A person or a machine. Addresses and machines are the same in any case, other names are as they are.

    `bears` says whether tokens carry one of the names, so that what they told of may name it too. A participant gave
    a name of his own choice, which only what he took part in knows: anywhere else it may be anybody's, or any word.
    """

    names: tuple[str, ...]
    is_machine: bool = False
    bears: bool = False
    is_participant: bool = False

    @property
    def key(self) -> str:
        """The same however it was typed."""
        return f"{self.is_machine}:{'participant:' if self.is_participant else ''}{self.folded(self.names[0])}"

    def folded(self, name: str) -> str:
        return name.lower() if self.is_machine else folded(name)

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """Columns that say who: a person with or without a kind, a machine with one: accounts have such names too."""
        kind = machine_kinds() if self.is_machine else f"(?:(?:{'|'.join(PERSONAL)}):)?"
        kind = "participant:" if self.is_participant else kind
        return re.compile("|".join(f"{kind}{self.spelled(name)}" for name in self.names))

    @property
    def spellings(self) -> list[str]:
        """As they are, and as they stand in HTML: o'brien is o&#x27;brien there."""
        return list(dict.fromkeys([*self.names, *map(escape, self.names)]))

    @cached_property
    def anywhere(self) -> re.Pattern[str]:
        """Texts: an address or a machine wherever it stands by itself, a user's name only where it says that it is one.

        A user may be called like any word.
        """
        return re.compile("|".join(self.within(name, is_told=True) for name in self.spellings))

    @cached_property
    def as_word(self) -> re.Pattern[str]:
        """What people write of each other: a user's name as a word too."""
        return re.compile("|".join(self.within(name, is_told=False) for name in self.spellings))

    def spelled(self, name: str) -> str:
        if self.is_machine:
            return f"(?i:{re.escape(name)})"
        return however_written(name) if "@" in name else however_written(name, in_any_case=False)

    def within(self, name: str, *, is_told: bool) -> str:
        """Not as a part of another's: bob@example.org is in neither rob.bob@example.org nor bob@example.org.uk."""
        if self.is_participant:
            return rf"{BEFORE}participant:{self.spelled(name)}{AFTER}"
        if "@" in name:
            return rf"(?<![\w.+%-])(?<!\w[{APOSTROPHES}]){self.spelled(name)}(?![\w@-]|\.\w)"
        if self.is_machine:
            return rf"(?<![\w.:@+-])(?:{machine_kinds()})?{self.spelled(name)}(?![\w@-]|[.:]\w)"
        told = "user:" if is_told else "(?:user:)?"
        return rf"{BEFORE}{told}{self.spelled(name)}{AFTER}"

    # --- Asking and renaming -----------------------------------------------------------------------------------------

    def is_named(self, text: str | None) -> bool:
        return bool(text) and self.whole.fullmatch(text or "") is not None

    def is_machine_called(self, text: str) -> bool:
        """Of a column that holds the id of a machine: nobody's name stands there, whatever it is like."""
        return self.is_machine and text.lower() in map(str.lower, self.names)

    def is_in_column(self, column: str) -> Q:
        """The condition that a column holds one of the names alone, in any case."""
        condition = Q()
        for name in self.names:
            condition |= Q(**{f"{column}__iexact": name})
        return condition

    def is_in(self, text: str | None) -> bool:
        return bool(text) and self.anywhere.search(text or "") is not None

    def renamed(self, text: str, pseudonym: str) -> str:
        """A column that says who; what stands before the name stays."""
        return behind_kind(text, pseudonym) if self.is_named(text) else text

    def replaced(self, value: Any, pseudonym: str, *, as_word: bool = False) -> Any:
        """The text, or whatever JSON can hold, with the pseudonym in place of each name."""
        pattern = self.as_word if as_word else self.anywhere
        if isinstance(value, str):
            return pattern.sub(lambda found: behind_kind(found[0], pseudonym), value)
        if isinstance(value, dict):
            value = value | dict.fromkeys(self.beside(value), "")
            return {self.replaced(key, pseudonym): self.replaced(value[key], pseudonym) for key in value}
        if isinstance(value, (list, tuple)):
            return type(value)(self.replaced(item, pseudonym) for item in value)
        return value

    def beside(self, value: dict[Any, Any]) -> list[str]:
        return [
            name
            for address, names in BESIDE.items()
            if isinstance(value.get(address), str) and self.is_named(value[address])
            for name in names
            if value.get(name)
        ]

    # --- Finding -----------------------------------------------------------------------------------------------------

    def needles(self) -> set[str]:
        """What a text that holds a name holds in any encoding: a database finds it, and Python looks closer."""
        return {max(PLAIN.findall(name), key=len, default="") for name in self.names}

    def written_as(self, rows: QuerySet[Any], field: str, *, is_machines: bool = False) -> list[str]:
        """The spellings of the names in an indexed column that says who, each to be looked up as it is.

        A column of machines alone holds no kinds.
        """
        if self.is_participant or (is_machines and not self.is_machine):
            return []
        found, kinds_before = [], ("agent:", "enroll:") if self.is_machine else ("", "client:", "enroll:")
        for kind, name in itertools.product(("",) if is_machines else kinds_before, self.names):
            if "@" in name or self.is_machine:
                same = Q()
                for spelling in beyond_ascii(name):
                    for letters in cased(spelling[:CASED]):
                        same |= Q(**{f"{field}__begins": kind + letters, f"{field}__iexact": kind + spelling})
                found += list(rows.filter(same).order_by().values_list(field, flat=True).distinct())
            else:
                found.append(kind + name)
        return list(dict.fromkeys(found))


@cache
def kinds() -> str:
    return before_names(frozenset())


@cache
def machine_kinds() -> str:
    return before_names(NEVER_MACHINES)


def before_names(never: frozenset[str]) -> str:
    """The audit trail calls a row by its model's name."""
    models = (str(model._meta.model_name) for model in apps.get_models())
    return f"(?:{'|'.join(kind for kind in dict.fromkeys([*KINDS, *models]) if kind not in never)}):"


def behind_kind(text: str, pseudonym: str) -> str:
    kind = re.match(kinds(), text)
    return f"{kind[0] if kind else ''}{pseudonym}"


def however_written(name: str, *, in_any_case: bool = True) -> str:
    """A pattern: letters composed or not, either apostrophe, over the end of a line, the unseen in between."""
    letters = LETTER.findall(normalize_text(name, longest=LONGEST_NAME))
    pattern = UNSEEN.join(r"\s+" if letter.isspace() else forms_of(letter, in_any_case) for letter in letters)
    return f"(?i:{pattern})" if in_any_case else pattern


def forms_of(letter: str, in_any_case: bool) -> str:
    """Capitals are asked for where they are no single letter's: the dotted capital I is an i with a dot."""
    if letter in APOSTROPHES:
        return f"[{APOSTROPHES}]"
    cases = (letter, letter.upper()) if in_any_case and not letter.isascii() else (letter,)
    forms = {normalize_text(text, form, longest=LONGEST_NAME): None for text in cases for form in FORMS}
    return re.escape(letter) if len(forms) == 1 else f"(?:{'|'.join(map(re.escape, forms))})"


def strip_format_characters(text: str) -> str:
    """Without what only tells how to show it (category Cf): two names that look the same are to be the same."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def beyond_ascii(name: str) -> list[str]:
    """The name, with letters beyond ASCII in either case and form: SQLite takes those for different letters."""
    cases = (name.lower(), name.upper()) if not name.isascii() else ()
    forms = (normalize_text(text, form, longest=LONGEST_NAME) for text in cases for form in FORMS)
    return list(dict.fromkeys([name, *forms]))


def cased(letters: str) -> set[str]:
    """`bo`, `Bo`, `bO`, `BO`: few enough to be asked for by an index, and enough to leave few to look at."""
    return {"".join(choice) for choice in itertools.product(*((letter.lower(), letter.upper()) for letter in letters))}


# --- From what was typed ---------------------------------------------------------------------------------------------


def subject_of(text: str) -> Subject:
    """`bob@example.org`, `user:bob` for who has no address, `participant:bob`, or a machine_id. Raises Nonsense."""
    text = text.strip()
    if participant := PARTICIPANT.fullmatch(text):
        name = " ".join(normalize_text(strip_format_characters(participant[1]).lower(), longest=LONGEST_NAME).split())
        if name:
            return subject_of(name) if ADDRESS.fullmatch(name) else Subject((name,), is_participant=True)
    if user := USER.fullmatch(text):
        return widened(Subject((user[1],)))
    if ADDRESS.fullmatch(text):
        return widened(Subject((text,)))
    machine = text.removeprefix("agent:")
    if MACHINE.fullmatch(machine) and not text.startswith(("user:", "participant:")):
        return Subject((machine,), is_machine=True, bears=True)
    raise InvalidSubject("An e-mail address, a machine_id, user:NAME or participant:NAME is expected.")


def widened(subject: Subject) -> Subject:
    """With the address and the user name of each user of the portal that it is."""
    names = {folded(name): name for name in subject.names}
    for user in users_of(subject):
        for name in filter(None, (user.email, user.get_username())):
            names.setdefault(folded(name), name)
    alone = Subject(tuple(names.values()))
    labels = ApiToken.objects.exclude(kind=ApiToken.Kind.AGENT).values_list("label", flat=True)
    return replace(alone, bears=any(alone.is_named(label) for label in labels.iterator()))


def folded(name: str) -> str:
    return name.lower() if "@" in name else name


def users_of(subject: Subject) -> QuerySet[Any]:
    users = get_user_model()._default_manager
    if subject.is_machine or subject.is_participant:
        return users.none()
    condition = Q()
    for name in subject.names:
        for spelling in beyond_ascii(name) if "@" in name else ():
            condition |= Q(email__iexact=spelling) | Q(username__iexact=spelling)
        condition |= Q(username=name)
    return users.filter(condition).order_by("pk")
