"""Forms of the admin are marked up as Django does it."""

import re
from pathlib import Path

import django.contrib.admin
import pytest
from django.contrib import admin
from django.template import engines
from django.test.html import parse_html
from django.urls import reverse

import portal

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("markup of forms")]
TEMPLATES = {
    "portal": Path(portal.__file__).parent / "templates/admin/includes/fieldset.html",
    "django": Path(django.contrib.admin.__file__).parent / "templates/admin/includes/fieldset.html",
}
AROUND_TAGS = re.compile(r"\s*([<>])\s*")


def render_fieldset(fieldset, source):
    html = engines["django"].from_string(TEMPLATES[source].read_text()).render({"fieldset": fieldset})
    return parse_html(AROUND_TAGS.sub(r"\1", html))


def render_forms(client, addresses, data, source):
    answers = {address: client.post(address, data) if data else client.get(address) for address in addresses}
    return {
        address: [render_fieldset(fieldset, source) for fieldset in answer.context["adminform"]]
        for address, answer in answers.items()
        if answer.context and "adminform" in answer.context
    }


@pytest.mark.parametrize("data", [{}, {"name": ""}], ids=["new", "incomplete"])
def test_forms_to_add_rows_have_the_markup_of_django(admin_client, settings, data):
    addresses = [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add") for model in admin.site._registry
    ]

    ours = render_forms(admin_client, addresses, data, "portal")
    settings.FORM_RENDERER = "django.forms.renderers.DjangoTemplates"
    theirs = render_forms(admin_client, ours, data, "django")

    assert len(ours) >= 7
    assert ours == theirs
