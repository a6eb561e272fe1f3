"""Forms of signing in, in the portal's words."""

from django import forms, template
from django.utils.translation import gettext_lazy as _

register = template.Library()
LABELS = {
    "password": _("Password"),
    "oldpassword": _("Current password"),
    "password1": _("New password"),
    "password2": _("New password again"),
    "code": _("Code"),
    "name": _("Name"),
    "passwordless": _("Sign in with this passkey only"),
}
HELP = {"passwordless": _("It asks for your fingerprint, face or PIN; you need no password.")}


@register.filter
def plain_form(form: forms.BaseForm) -> forms.BaseForm:
    """Return the form with the portal's labels, without placeholders that repeat them, the first field focused."""
    for name, field in form.fields.items():
        field.label, field.help_text = LABELS.get(name, field.label), HELP.get(name, field.help_text)
        field.widget.attrs.pop("placeholder", None)
    for bound in form.visible_fields()[:1]:
        bound.field.widget.attrs["autofocus"] = True
    return form
