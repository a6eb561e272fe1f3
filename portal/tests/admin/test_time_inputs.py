"""Inputs for a date and a time: one labelled field, in the reader's zone."""

from datetime import UTC, datetime

import pytest
from django import forms

from portal.admin.until import MomentField
from portal.base.words import set_readers_zone


class MomentForm(forms.Form):
    at = MomentField(label="At", help_text="Or later.")


@pytest.fixture
def in_paris():
    set_readers_zone("Europe/Paris")
    yield
    set_readers_zone("")


def test_entered_time_is_of_the_readers_zone(in_paris):
    form = MomentForm({"at": "2026-07-01T10:30"})
    assert form.is_valid()
    assert form.cleaned_data["at"] == datetime(2026, 7, 1, 8, 30, tzinfo=UTC)


def test_shown_time_is_of_the_readers_zone_and_unchanged_when_sent_back(in_paris):
    form = MomentForm({"at": "2026-07-01T10:30:05"}, initial={"at": datetime(2026, 7, 1, 8, 30, 5, tzinfo=UTC)})
    assert 'value="2026-07-01T10:30:05"' in str(form["at"])
    assert not form.has_changed()


def test_input_has_one_label_and_names_the_zone(in_paris):
    bound = MomentForm()["at"]
    assert bound.label_tag().count('for="id_at"') == 1
    assert str(bound).count("<input") == 1
    assert bound.help_text == "In the time zone Europe/Paris. Or later."
