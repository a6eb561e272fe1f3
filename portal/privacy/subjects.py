"""Subjects: the person or machine whose data it is, and how their names are found in any text."""

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
# Prefixes that say what kind of name follows: `agent:PC-1`, `backup:PC-1/stock`.
KINDS = ("agent", "client", "enroll", "staff", "user", "token", "backup")
# Prefixes of persons' names, and prefixes that machines' names never have.
PERSONAL = ("user", "staff", "client", "enroll")
NEVER_MACHINES = frozenset({"user", "staff", "client"})
# Combining marks, which may follow a letter instead of being part of it.
MARKS = "\u0300-\u036f"
FORMS: Final = ("NFC", "NFD")
# Longer than any name that is kept, also as it stands in HTML.
LONGEST_NAME = 2_048
LETTER = re.compile(f".[{MARKS}]*", re.DOTALL)
# The parts of a name that are written the same in every JSON encoding and Unicode form.
PLAIN = re.compile(f"[A-Za-z0-9@._+-]+(?![{MARKS}])")
# Invisible characters (category Cf) that may stand between two letters.
UNSEEN = "[\xad\u0600-\u0605\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*"
APOSTROPHES = "'\u2019"
# Where a name begins and ends. It may have an @ of its own: `ask @carol`.
BEFORE = r"(?<![\w.+-])(?<![\w.+-]@)"
AFTER = rf"(?![\w@+{MARKS}-]|\.\w)"
# Keys that identify the person whose address stands beside them in JSON.
BESIDE = {"user_email": ("user_name", "user_id", "hostname")}
CASED = 3


class InvalidSubject(ValueError):
    """The input names no subject; the text says what is expected."""


@dataclass(frozen=True)
class Subject:
    """A person or a machine. E-mail addresses and machine ids ignore case, other names don't.

    `bears` is True if a token is labelled with one of the names, so that whatever it reported may name the subject. A
    participant's name was freely chosen: it counts only in beta feedback, as elsewhere it may be any word.
    """

    names: tuple[str, ...]
    is_machine: bool = False
    bears: bool = False
    is_participant: bool = False

    @property
    def key(self) -> str:
        """Return a key that does not depend on how the name was typed."""
        return f"{self.is_machine}:{'participant:' if self.is_participant else ''}{self.folded(self.names[0])}"

    def folded(self, name: str) -> str:
        return name.lower() if self.is_machine else fold_case(name)

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """Match a whole column: a person with or without a prefix, a machine with one."""
        kind = prefix_pattern(NEVER_MACHINES) if self.is_machine else f"(?:(?:{'|'.join(PERSONAL)}):)?"
        kind = "participant:" if self.is_participant else kind
        return re.compile("|".join(f"{kind}{self.spelled(name)}" for name in self.names))

    @property
    def spellings(self) -> list[str]:
        """Return the names, and as HTML escapes them: o'brien is o&#x27;brien there."""
        return list(dict.fromkeys([*self.names, *map(escape, self.names)]))

    @cached_property
    def anywhere(self) -> re.Pattern[str]:
        """Match addresses and machine ids anywhere in a text, but user names only with their prefix.

        A user name may be any word.
        """
        return re.compile("|".join(self.within(name, needs_prefix=True) for name in self.spellings))

    @cached_property
    def as_word(self) -> re.Pattern[str]:
        """Match as `anywhere`, and user names without prefix too: for texts that people write about each other."""
        return re.compile("|".join(self.within(name, needs_prefix=False) for name in self.spellings))

    def spelled(self, name: str) -> str:
        if self.is_machine:
            return f"(?i:{re.escape(name)})"
        return spelling_pattern(name) if "@" in name else spelling_pattern(name, in_any_case=False)

    def within(self, name: str, *, needs_prefix: bool) -> str:
        """Return a pattern that skips longer names: bob@example.org is not in rob.bob@example.org."""
        if self.is_participant:
            return rf"{BEFORE}participant:{self.spelled(name)}{AFTER}"
        if "@" in name:
            return rf"(?<![\w.+%-])(?<!\w[{APOSTROPHES}]){self.spelled(name)}(?![\w@-]|\.\w)"
        if self.is_machine:
            return rf"(?<![\w.:@+-])(?:{prefix_pattern(NEVER_MACHINES)})?{self.spelled(name)}(?![\w@-]|[.:]\w)"
        prefix = "user:" if needs_prefix else "(?:user:)?"
        return rf"{BEFORE}{prefix}{self.spelled(name)}{AFTER}"

    # --- Asking and renaming -----------------------------------------------------------------------------------------

    def is_named(self, text: str | None) -> bool:
        return bool(text) and self.whole.fullmatch(text or "") is not None

    def is_machine_called(self, text: str) -> bool:
        """Return True if the text of a column of machine ids is this machine."""
        return self.is_machine and text.lower() in map(str.lower, self.names)

    def is_in_column(self, column: str) -> Q:
        """Return the condition that the column equals one of the names in any case."""
        condition = Q()
        for name in self.names:
            condition |= Q(**{f"{column}__iexact": name})
        return condition

    def is_in(self, text: str | None) -> bool:
        return bool(text) and self.anywhere.search(text or "") is not None

    def renamed(self, text: str, pseudonym: str) -> str:
        """Return a column's text with the name replaced; its prefix stays."""
        return keep_prefix(text, pseudonym) if self.is_named(text) else text

    def replaced(self, value: Any, pseudonym: str, *, as_word: bool = False) -> Any:
        """Return the text or JSON value with the pseudonym in place of each name."""
        pattern = self.as_word if as_word else self.anywhere
        if isinstance(value, str):
            return pattern.sub(lambda found: keep_prefix(found[0], pseudonym), value)
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
        """Return texts that any encoding of a name contains: the database finds candidates, Python checks them."""
        return {max(PLAIN.findall(name), key=len, default="") for name in self.names}

    def written_as(self, rows: QuerySet[Any], field: str, *, is_machines: bool = False) -> list[str]:
        """Return the spellings of the names that an indexed column holds, each for an exact lookup.

        A column of machine ids has no prefixes.
        """
        if self.is_participant or (is_machines and not self.is_machine):
            return []
        found, kinds_before = [], ("agent:", "enroll:") if self.is_machine else ("", "client:", "enroll:")
        for kind, name in itertools.product(("",) if is_machines else kinds_before, self.names):
            if "@" in name or self.is_machine:
                same = Q()
                for spelling in unicode_variants(name):
                    for letters in case_variants(spelling[:CASED]):
                        same |= Q(**{f"{field}__begins": kind + letters, f"{field}__iexact": kind + spelling})
                found += list(rows.filter(same).order_by().values_list(field, flat=True).distinct())
            else:
                found.append(kind + name)
        return list(dict.fromkeys(found))


@cache
def prefix_pattern(never: frozenset[str] = frozenset()) -> str:
    """Return a pattern of the prefixes but these, model names included: the audit trail uses those."""
    models = (str(model._meta.model_name) for model in apps.get_models())
    return f"(?:{'|'.join(kind for kind in dict.fromkeys([*KINDS, *models]) if kind not in never)}):"


def keep_prefix(text: str, pseudonym: str) -> str:
    kind = re.match(prefix_pattern(), text)
    return f"{kind[0] if kind else ''}{pseudonym}"


def spelling_pattern(name: str, *, in_any_case: bool = True) -> str:
    """Return a pattern for any spelling: composed or not, either apostrophe, across lines."""
    letters = LETTER.findall(normalize_text(name, longest=LONGEST_NAME))
    pattern = UNSEEN.join(r"\s+" if letter.isspace() else letter_pattern(letter, in_any_case) for letter in letters)
    return f"(?i:{pattern})" if in_any_case else pattern


def letter_pattern(letter: str, in_any_case: bool) -> str:
    """Return a pattern for a letter, capitals included: some are two letters, as the dotted capital I is i and dot."""
    if letter in APOSTROPHES:
        return f"[{APOSTROPHES}]"
    cases = (letter, letter.upper()) if in_any_case and not letter.isascii() else (letter,)
    forms = {normalize_text(text, form, longest=LONGEST_NAME): None for text in cases for form in FORMS}
    return re.escape(letter) if len(forms) == 1 else f"(?:{'|'.join(map(re.escape, forms))})"


def strip_format_characters(text: str) -> str:
    """Remove invisible format characters (category Cf), so that names that look the same are the same."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def unicode_variants(name: str) -> list[str]:
    """Return the name with non-ASCII letters in either case and form, which SQLite treats as different."""
    cases = (name.lower(), name.upper()) if not name.isascii() else ()
    forms = (normalize_text(text, form, longest=LONGEST_NAME) for text in cases for form in FORMS)
    return list(dict.fromkeys([name, *forms]))


def case_variants(letters: str) -> set[str]:
    """Return `bo`, `Bo`, `bO`, `BO`: few enough for index lookups, and enough to leave few candidates."""
    return {"".join(choice) for choice in itertools.product(*((letter.lower(), letter.upper()) for letter in letters))}


# --- From what was typed ---------------------------------------------------------------------------------------------


def parse_subject(text: str) -> Subject:
    """Parse `bob@example.org`, `user:bob`, `participant:bob` or a machine_id. Raises InvalidSubject."""
    text = text.strip()
    if participant := PARTICIPANT.fullmatch(text):
        name = " ".join(normalize_text(strip_format_characters(participant[1]).lower(), longest=LONGEST_NAME).split())
        if name:
            return parse_subject(name) if ADDRESS.fullmatch(name) else Subject((name,), is_participant=True)
    if user := USER.fullmatch(text):
        return add_user_names(Subject((user[1],)))
    if ADDRESS.fullmatch(text):
        return add_user_names(Subject((text,)))
    machine = text.removeprefix("agent:")
    if MACHINE.fullmatch(machine) and not text.startswith(("user:", "participant:")):
        return Subject((machine,), is_machine=True, bears=True)
    raise InvalidSubject("An e-mail address, a machine_id, user:NAME or participant:NAME is expected.")


def add_user_names(subject: Subject) -> Subject:
    """Add the addresses and user names of the portal users who are the subject."""
    names = {fold_case(name): name for name in subject.names}
    for user in users_of(subject):
        for name in filter(None, (user.email, user.get_username())):
            names.setdefault(fold_case(name), name)
    alone = Subject(tuple(names.values()))
    labels = ApiToken.objects.exclude(kind=ApiToken.Kind.AGENT).values_list("label", flat=True)
    return replace(alone, bears=any(alone.is_named(label) for label in labels.iterator()))


def fold_case(name: str) -> str:
    return name.lower() if "@" in name else name


def users_of(subject: Subject) -> QuerySet[Any]:
    users = get_user_model()._default_manager
    if subject.is_machine or subject.is_participant:
        return users.none()
    condition = Q()
    for name in subject.names:
        for spelling in unicode_variants(name) if "@" in name else ():
            condition |= Q(email__iexact=spelling) | Q(username__iexact=spelling)
        condition |= Q(username=name)
    return users.filter(condition).order_by("pk")
