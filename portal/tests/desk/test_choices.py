"""Inputs with many choices."""

import pytest
from django import forms
from django.test.html import parse_html

from portal.desk.choices import LongChecklist, LongSelect

CHOICES = [("", "none"), ("a", "<b>bold</b>"), (3, 'three "3"')]
GROUPED = [*CHOICES, ('"e" & <i>', [("e/<f>", "<f>"), ("e/g", "g")])]


@pytest.mark.parametrize(
    ("widget", "djangos", "value"),
    [
        (LongSelect, forms.Select, "a"),
        (LongSelect, forms.Select, None),
        (LongSelect, forms.Select, "e/<f>"),
        (LongChecklist, forms.CheckboxSelectMultiple, ["a", 3]),
        (LongChecklist, forms.CheckboxSelectMultiple, None),
    ],
)
def test_long_input_renders_what_djangos_does(widget, djangos, value):
    texts = [
        kind(attrs={"class": "choices"}, choices=GROUPED if kind in (LongSelect, forms.Select) else CHOICES).render(
            "zone", value, {"id": "id_zone"}
        )
        for kind in (widget, djangos)
    ]
    assert parse_html(texts[0]) == parse_html(texts[1])
