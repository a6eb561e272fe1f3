"""Rendering of labels, inputs and choices of forms, in a tenth of the time that Django's templates take."""

from collections.abc import Callable, Mapping
from typing import Any

from django.forms.renderers import DjangoTemplates
from django.utils.html import conditional_escape as escape
from django.utils.safestring import SafeString

WIDGETS = "django/forms/widgets/"
# Types of inputs that have a template each, all of which include that of inputs.
INPUTS = ("input", "checkbox", "date", "datetime", "email", "hidden", "number", "password", "text", "time")


def write_attributes(attributes: Mapping[str, Any]) -> str:
    return "".join(
        f" {name}" if value is True else f' {name}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not False
    )


def write_input(context: Mapping[str, Any]) -> str:
    widget = context["widget"]
    value = "" if widget["value"] is None else f' value="{escape(widget["value"])}"'
    return f'<input type="{widget["type"]}" name="{escape(widget["name"])}"{value}{write_attributes(widget["attrs"])}>'


def write_textarea(context: Mapping[str, Any]) -> str:
    widget = context["widget"]
    start = f'<textarea name="{escape(widget["name"])}"{write_attributes(widget["attrs"])}>'
    return f"{start}\n{escape(widget['value']) if widget['value'] else ''}</textarea>"


def write_option(option: Mapping[str, Any]) -> str:
    value, attributes = escape(option["value"]), write_attributes(option["attrs"])
    return f'<option value="{value}"{attributes}>{escape(option["label"])}</option>'


def write_select(context: Mapping[str, Any]) -> str:
    widget, parts = context["widget"], list[str]()
    for group, options, _index in widget["optgroups"]:
        choices = "".join(f"\n  {write_option(option)}" for option in options)
        parts.append(f'\n  <optgroup label="{escape(group)}">{choices}\n  </optgroup>' if group else choices)
    start = f'<select name="{escape(widget["name"])}"{write_attributes(widget["attrs"])}>'
    return f"{start}{''.join(parts)}\n</select>"


def write_box(option: Mapping[str, Any]) -> str:
    place = option["attrs"].get("id")
    start = f'<label for="{escape(place)}">' if place else "<label>"
    return f"<div>{start}{write_input({'widget': option})}\n {escape(option['label'])}</label></div>"


def write_checklist(context: Mapping[str, Any]) -> str:
    widget, parts = context["widget"], list[str]()
    for group, options, _index in widget["optgroups"]:
        boxes = "".join(write_box(option) for option in options)
        parts.append(f"<div><label>{escape(group)}</label>{boxes}</div>" if group else boxes)
    shared = {name: widget["attrs"][name] for name in ("id", "class") if widget["attrs"].get(name)}
    return f"<div{write_attributes(shared)}>{''.join(parts)}</div>"


def write_label(context: Mapping[str, Any]) -> str:
    label = escape(context["label"])
    if not context["use_tag"]:
        return label
    return f"<{context['tag']}{write_attributes(context['attrs'] or {})}>{label}</{context['tag']}>"


WRITERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **{f"{WIDGETS}{name}.html": write_input for name in INPUTS},
    f"{WIDGETS}textarea.html": write_textarea,
    f"{WIDGETS}select.html": write_select,
    f"{WIDGETS}checkbox_select.html": write_checklist,
    "django/forms/label.html": write_label,
}
ERRORS = ("django/forms/errors/list/default.html", "django/forms/errors/list/ul.html")


class FormRenderer(DjangoTemplates):
    """Write the commonest parts of forms without templates, the same as Django's; a page has a hundred of them."""

    def render(self, template_name: str, context: dict[str, Any], request: Any = None) -> str:
        if template_name in WRITERS:
            return SafeString(WRITERS[template_name](context))
        if template_name in ERRORS and not context["errors"]:
            return SafeString("")
        return super().render(template_name, context, request)
