"""Inputs with many choices. Django renders a template or three for each choice, which takes 100 ms for 600 of them."""

from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import conditional_escape as escape
from django.utils.html import format_html
from django.utils.safestring import SafeString


class LongSelect(forms.Select):
    """A list of choices, some of them in groups."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        options = render_options(self.choices, set(self.format_value(value)))
        given = {"name": name} | self.build_attrs(self.attrs, attrs)
        return format_html("<select{}>{}</select>", flatatt(given), SafeString(options))


def render_options(choices: Any, chosen: set[str]) -> str:
    return "".join(
        f'<optgroup label="{escape(key)}">{render_options(label, chosen)}</optgroup>'
        if isinstance(label, list | tuple)
        else f'<option value="{escape(key)}"{" selected" if str(key) in chosen else ""}>{escape(str(label))}</option>'
        for key, label in choices
    )


class LongChecklist(forms.CheckboxSelectMultiple):
    """Many boxes to tick, without groups."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        given = self.build_attrs(self.attrs, attrs)
        place = given.pop("id", name)
        shared, chosen = flatatt({"name": name} | given), set(self.format_value(value))
        boxes = "".join(
            f'<div><label for="{escape(place)}_{number}"><input type="checkbox"{shared} id="{escape(place)}_{number}" '
            f'value="{escape(str(key))}"{" checked" if str(key) in chosen else ""}> {escape(str(label))}</label></div>'
            for number, (key, label) in enumerate(self.choices)
        )
        return format_html(
            "<div{}>{}</div>", flatatt({"id": place, "class": given.get("class", "")}), SafeString(boxes)
        )
