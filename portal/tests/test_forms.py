import re
from datetime import UTC, datetime
from pathlib import Path

import django.contrib.admin
import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import Fieldset
from django.contrib.auth.models import User
from django.forms.renderers import DjangoTemplates, get_default_renderer
from django.template import engines
from django.test.html import parse_html
from django.utils.safestring import SafeString

from portal.forms import FormRenderer
from portal.templatetags.vigie import form_rows

NASTY = """<b>"a' & b</b>"""
CHOICES = [("", "---"), (1, NASTY), ("Group <1>", [("a", "A"), ("b", SafeString("<i>B</i>"))])]
WIDGETS = [
    *(forms.TextInput(), forms.NumberInput(attrs={"min": 0}), forms.EmailInput(), forms.PasswordInput()),
    *(forms.HiddenInput(), forms.CheckboxInput(), forms.DateInput(), forms.TimeInput(), forms.DateTimeInput()),
    *(forms.Textarea(attrs={"rows": 3}), forms.Select(choices=CHOICES), forms.SelectMultiple(choices=CHOICES)),
    *(forms.URLInput(), forms.CheckboxSelectMultiple(attrs={"class": "choices"}, choices=CHOICES)),
]
BETWEEN_TAGS = re.compile(r">\s+<")
ATTRIBUTES = {"id": "id_x", "required": True, "disabled": False, "placeholder": NASTY, "maxlength": 10}


def test_forms_are_rendered_by_the_renderer_of_the_portal() -> None:
    assert isinstance(get_default_renderer(), FormRenderer)


@pytest.mark.parametrize("value", [None, "", NASTY, "1", True])
@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: type(widget).__name__)
def test_input_is_rendered_as_by_django(widget: forms.Widget, value: object) -> None:
    given = [value] if getattr(widget, "allow_multiple_selected", False) and value is not None else value

    ours, theirs = (widget.render("x", given, ATTRIBUTES, each()) for each in (FormRenderer, DjangoTemplates))

    assert BETWEEN_TAGS.sub("><", ours) == BETWEEN_TAGS.sub("><", theirs)


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    error_css_class = "wrong"

    class Meta:
        model = User
        fields = ("username", "email", "is_active", "first_name")
        help_texts = {"email": "As in <code>a@example.org</code>"}
        widgets = {"first_name": forms.HiddenInput()}


def fieldset(data: dict[str, str] | None, renderer: DjangoTemplates) -> Fieldset:
    joined = datetime(2026, 3, 1, tzinfo=UTC)  # its default is now, which differs between two forms
    form = ProfileForm(data, instance=User(last_name=NASTY, date_joined=joined), renderer=renderer)
    fields = ("last_name", "date_joined", *ProfileForm.Meta.fields)
    readonly = ("last_name", "date_joined")
    return Fieldset(form, None, readonly, fields, model_admin=admin.site._registry[User])


@pytest.mark.parametrize("data", [None, {"username": "", "email": "x"}], ids=["unbound", "wrong"])
def test_rows_of_a_form_have_the_markup_of_django(data: dict[str, str] | None) -> None:
    template = Path(django.contrib.admin.__file__).parent / "templates/admin/includes/fieldset.html"
    theirs = engines["django"].from_string(template.read_text()).render({"fieldset": fieldset(data, DjangoTemplates())})

    ours = f'<fieldset class="module aligned">{form_rows(fieldset(data, FormRenderer()))}</fieldset>'

    assert parse_html(ours) == parse_html(theirs)
