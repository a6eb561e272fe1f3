"""Read the values that a browser would send for a form on a page."""

from __future__ import annotations

from html.parser import HTMLParser

Attributes = list[tuple[str, str | None]]


class Forms(HTMLParser):
    """Collects the initial values of the forms of a page, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.values_of_forms: list[dict[str, str]] = []
        self.select = ""
        self.area = ""

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        attributes = {name: value or "" for name, value in attrs}
        name = attributes.get("name", "")
        match tag:
            case "form":
                self.values_of_forms.append({})
            case "input" if name and self.is_sent(attributes):
                self.set_value(name, attributes.get("value", "on" if "checked" in attributes else ""))
            case "select":
                self.select = name
            case "option" if self.select and ("selected" in attributes or self.select not in self.values_of_forms[-1]):
                self.set_value(self.select, attributes.get("value", ""))
            case "textarea":
                self.area = name
                self.set_value(name, "")

    def is_sent(self, attributes: dict[str, str]) -> bool:
        kind = attributes.get("type", "text")
        return kind not in ("submit", "button", "file") and (
            kind not in ("checkbox", "radio") or "checked" in attributes
        )

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.area = ""

    def handle_data(self, data: str) -> None:
        """Collect the text of a text area without its first newline, as a browser does."""
        if self.area:
            text = self.values_of_forms[-1][self.area]
            self.set_value(self.area, text + data if text else data.removeprefix("\n"))

    def set_value(self, name: str, value: str) -> None:
        if self.values_of_forms:
            self.values_of_forms[-1][name] = value


def read_form(page: str, field: str) -> dict[str, str]:
    """Return the values of the first form with this field. Raises LookupError if there is none."""
    forms = Forms()
    forms.feed(page)
    for values in forms.values_of_forms:
        if field in values:
            return values
    raise LookupError(f"no form here asks for {field}")
