"""A licence as an operator writes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _
from vigie_client.contract import IDENTIFIER

from usage.models import Licence

if TYPE_CHECKING:
    BaseLicenceForm = forms.ModelForm[Licence]
else:
    BaseLicenceForm = forms.ModelForm

# What no report can name would wait for its runs for ever.
REPORTABLE = RegexValidator(rf"^{IDENTIFIER}\Z", _("1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected."))


class LicenceForm(BaseLicenceForm):
    class Meta:
        model = Licence
        exclude = ()
        help_texts = {
            "ref": _("As the applications report it: it cannot be changed later."),
            "customer": _("Whose licence it is. Until it is named it stands as unnamed."),
            "monthly_page_quota": _("You are told at 80 % and at 100 % of it. Without a figure there is no quota."),
            "period_day": _("Day of the month, 1 to 28, at midnight."),
        }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if "ref" in self.fields:
            self.fields["ref"].validators.append(REPORTABLE)
