"""A page as a browser without scripts has it: its elements, its one form, and what it would send."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

Attributes = dict[str, str | None]


class Page(HTMLParser):
    """`sends` is what the form holds as it is."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.sends: dict[str, str] = {}
        self.words: list[str] = []
        self._filling = ""
        self.feed(answer.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.elements.append((tag, known))
        name = known.get("name") or ""
        if tag == "textarea":
            self._filling, self.sends[name] = name, ""
        elif tag == "input" and (known["type"] != "radio" or "checked" in known):
            self.sends[name] = known.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # A browser takes the first line's end away.
            self.sends[self._filling] = self.sends[self._filling].removeprefix("\n")
            self._filling = ""

    def handle_data(self, data: str) -> None:
        if self._filling:
            self.sends[self._filling] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[Attributes]:
        return [has for name, has in self.elements if name == tag and attributes.items() <= has.items()]

    def one(self, tag: str, **attributes: str) -> Attributes:
        (found,) = self.all(tag, **attributes)
        return found

    def by_id(self, identifier: str) -> Attributes:
        (found,) = [has for _, has in self.elements if has.get("id") == identifier]
        return found
