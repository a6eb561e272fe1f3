"""What a browser would send of a form that somebody opens and submits."""

from __future__ import annotations

from html.parser import HTMLParser

Attributes = list[tuple[str, str | None]]


class Forms(HTMLParser):
    """The values of the forms of a page, in their order, as they stand when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.select = ""
        self.area = ""

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        match tag:
            case "form":
                self.found.append({})
            case "input" if name and self.is_sent(given):
                self.keep(name, given.get("value", "on" if "checked" in given else ""))
            case "select":
                self.select = name
            case "option" if self.select and ("selected" in given or self.select not in self.found[-1]):
                self.keep(self.select, given.get("value", ""))
            case "textarea":
                self.area = name
                self.keep(name, "")

    def is_sent(self, given: dict[str, str]) -> bool:
        kind = given.get("type", "text")
        return kind not in ("submit", "button", "file") and (kind not in ("checkbox", "radio") or "checked" in given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.area = ""

    def handle_data(self, data: str) -> None:
        """A browser drops the newline that a text area begins with."""
        if self.area:
            text = self.found[-1][self.area]
            self.keep(self.area, text + data if text else data.removeprefix("\n"))

    def keep(self, name: str, value: str) -> None:
        if self.found:
            self.found[-1][name] = value


def form_with(page: str, field: str) -> dict[str, str]:
    """The values of the first form that has this field. Raises LookupError where none has."""
    forms = Forms()
    forms.feed(page)
    for values in forms.found:
        if field in values:
            return values
    raise LookupError(f"no form here asks for {field}")
