"""The form of a channel. Secrets are write-only: no page shows a stored one."""

import re
from typing import Any, ClassVar
from urllib.parse import urldefrag, urlsplit

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.base.encryption import encrypt
from portal.base.env import CHAT
from portal.egress import guard, lookup
from portal.egress.urls import ascii_host, clean_url
from portal.models import NotificationChannel
from portal.notifications.channels.apprise_urls import UnusableURL, create_plugin
from portal.notifications.channels.http import ADDRESS_REFUSED

Kind = NotificationChannel.Kind
BOT_TOKEN = re.compile(r"\d{5,20}:[A-Za-z0-9_-]{30,80}")
MIN_KEY_LENGTH = 16
MAX_ADDRESS_LENGTH = 254
MAX_APPRISE_URL_LENGTH = 2_000
MAX_RECIPIENTS = 50


class KindField(forms.CharField):
    """A field that channels of one kind require; `ChannelForm.clean` checks this for the chosen kind."""

    def validate(self, value: Any) -> None:
        pass


class KeyInput(forms.PasswordInput):
    """The input of a webhook's key, with buttons that generate and copy one in the browser."""

    template_name = "portal/widgets/key.html"


class ChatInput(forms.TextInput):
    """The input of a chat's id, with a button that finds the chats of the bot."""

    template_name = "portal/widgets/chat.html"


class KindFields:
    """Form fields for channels of one kind; the page hides them for other kinds."""

    def __init__(self, kind: str, **attributes: Any) -> None:
        self.attributes = {"data-kind": kind, "class": "vTextField", **attributes}

    def text(self, label: Any, help_text: Any, widget: type[forms.Widget] = forms.TextInput) -> forms.CharField:
        return KindField(label=label, help_text=help_text, widget=widget(self.attributes))

    def secret(
        self, label: Any, help_text: Any, widget: type[forms.PasswordInput] = forms.PasswordInput
    ) -> forms.CharField:
        """Return a field whose widget never repeats its value, not even beside an error."""
        attributes = {"autocomplete": "new-password", **self.attributes}
        return KindField(label=label, help_text=help_text, widget=widget(attributes, render_value=False))


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    FIELDS: ClassVar[dict[str, tuple[str, ...]]] = {
        Kind.EMAIL: ("recipients",),
        Kind.TELEGRAM: ("bot_token", "chat_id"),
        Kind.WEBHOOK: ("url", "signing_key"),
        Kind.APPRISE: ("apprise_url",),
    }
    ADDRESS: ClassVar[dict[str, str]] = {Kind.EMAIL: "recipients", Kind.TELEGRAM: "chat_id", Kind.WEBHOOK: "url"}
    SECRET: ClassVar[dict[str, str]] = {
        Kind.TELEGRAM: "bot_token",
        Kind.WEBHOOK: "signing_key",
        Kind.APPRISE: "apprise_url",
    }

    recipients = KindFields(Kind.EMAIL, rows=4).text(
        gettext_lazy("E-mail addresses"),
        gettext_lazy("One per line. The mail server is set in EMAIL_URL."),
        forms.Textarea,
    )
    bot_token = KindFields(Kind.TELEGRAM).secret(
        gettext_lazy("Bot token"), gettext_lazy("The token that @BotFather gave you, such as 123456:ABC-DEF….")
    )
    chat_id = KindFields(Kind.TELEGRAM).text(
        gettext_lazy("Chat ID"),
        gettext_lazy("-1001234567890 or @channel. For a topic in a group: chat ID/topic ID."),
        ChatInput,
    )
    url = KindFields(Kind.WEBHOOK).text(
        gettext_lazy("URL"),
        gettext_lazy(
            "Receives notifications as JSON by POST. Visible to everyone who can view the channel. Private "
            "addresses need PROBE_ALLOW_PRIVATE."
        ),
    )
    signing_key = KindFields(Kind.WEBHOOK).secret(
        gettext_lazy("Signing key"),
        gettext_lazy("Shared secret with which the receiver verifies the signature: 16 characters or more."),
        KeyInput,
    )
    apprise_url = KindFields(Kind.APPRISE).secret(
        gettext_lazy("Apprise URL"),
        gettext_lazy(
            "For example ntfys://topic or slack://…. Stored as a secret. Only services over HTTP, and no "
            "parameters for files, headers or the method."
        ),
    )

    class Meta:
        model = NotificationChannel
        fields = ("name", "kind", "min_severity", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        address, secret = self.ADDRESS.get(self.instance.kind), self.SECRET.get(self.instance.kind)
        if not self.instance.kind:
            self.initial["kind"] = Kind.EMAIL
        if address:
            self.initial.setdefault(address, self.instance.addresses)
        if secret and self.instance.secret:
            self.fields[secret].required = False
            self.fields[secret].help_text = gettext_lazy("A value is stored. Leave empty to keep it.")

    @cached_property
    def changed_data(self) -> list[str]:
        """Leave out the fields of other kinds, whose values are ignored."""
        kinds = {name: kind for kind, names in self.FIELDS.items() for name in names}
        return [name for name in super().changed_data if kinds.get(name, self.kind) == self.kind]

    @property
    def kind(self) -> str:
        return str(self.cleaned_data.get("kind") or self.instance.kind)

    def clean(self) -> dict[str, Any]:
        """Validate the fields of the kind; values of other fields are ignored."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.FIELDS.get(self.kind, ()):
            is_kept = name == self.SECRET.get(self.kind) and bool(self.instance.secret)
            if not cleaned.get(name) and not is_kept:
                self.add_error(name, self.fields[name].error_messages["required"])
            elif cleaned.get(name):
                try:
                    cleaned[name] = VALIDATORS[name](cleaned[name].strip())
                except ValidationError as error:
                    self.add_error(name, error)
        return cleaned

    def save(self, commit: bool = True) -> NotificationChannel:
        channel: NotificationChannel = super().save(commit=False)
        self.configure(channel)
        if commit:
            channel.save()
        return channel

    def configure(self, channel: NotificationChannel) -> None:
        """Set the channel's recipients and secret to those of the form."""
        address, secret = self.ADDRESS.get(channel.kind), self.SECRET.get(channel.kind)
        channel.addresses = self.cleaned_data[address] if address else ""
        if secret and self.cleaned_data[secret]:
            channel.secret = encrypt(self.cleaned_data[secret])

    @property
    def changed_columns(self) -> list[str]:
        """Return the columns that the form changes."""
        columns = {self.ADDRESS.get(self.kind): "addresses", self.SECRET.get(self.kind): "secret"}
        columns |= {name: name for name in ChannelForm.Meta.fields}
        return [columns[name] for name in self.changed_data if name in columns]

    def problems_of(self, *names: str) -> list[str]:
        """Return the errors of these fields, each after its label."""
        return [f"{self.fields[name].label}: {error}" for name in names for error in self.errors.get(name, ())]


# --- Validators: each returns the value to store, or raises ValidationError without repeating a secret ---------------


def validate_recipients(text: str) -> str:
    addresses = list(dict.fromkeys(text.replace(",", " ").replace(";", " ").split()))
    if len(addresses) > MAX_RECIPIENTS:
        raise ValidationError(
            _("At most %(count)d addresses. Use a mailing list for more.") % {"count": MAX_RECIPIENTS}
        )
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ValidationError(_("%(address)s is not an e-mail address.") % {"address": address[:80]}) from None
        if len(address) > MAX_ADDRESS_LENGTH:
            raise ValidationError(_("%(address)s is not an e-mail address.") % {"address": f"{address[:80]}…"})
    return "\n".join(addresses)


def validate_chat(text: str) -> str:
    if not CHAT.fullmatch(text):
        raise ValidationError(_("Enter a chat ID such as -1001234567890 or @channel; add /topic ID for a topic."))
    return text


def validate_bot_token(text: str) -> str:
    if not BOT_TOKEN.fullmatch(text):
        raise ValidationError(_("That doesn’t look like a bot token (123456:ABC…)."))
    return text


def refuse_longer_than(text: str, most: int) -> None:
    if len(text) > most:
        raise ValidationError(_("At most %(count)d characters.") % {"count": most})


def validate_webhook_url(text: str) -> str:
    refusal = ValidationError(_("Enter a URL that begins with http:// or https://."))
    refuse_longer_than(text, MAX_ADDRESS_LENGTH)
    try:
        host = ascii_host(urlsplit(clean_url(urldefrag(text).url)))
    except ValueError as error:
        if str(error) == "credentials":
            raise ValidationError(
                _("Remove the user name and password from the URL: the signature authenticates the portal.")
            ) from None
        raise refusal from None
    if lookup.is_address(host) and guard.address_refusal(host, settings.PROBE_ALLOW_PRIVATE):
        raise ValidationError(ADDRESS_REFUSED)
    return text


def validate_signing_key(text: str) -> str:
    if len(text) < MIN_KEY_LENGTH:
        raise ValidationError(_("At least %(count)d characters.") % {"count": MIN_KEY_LENGTH})
    return text


def validate_apprise_url(text: str) -> str:
    refuse_longer_than(text, MAX_APPRISE_URL_LENGTH)
    try:
        create_plugin(text)
    except UnusableURL as error:
        raise ValidationError(str(error)) from None
    return text


VALIDATORS = {
    "recipients": validate_recipients,
    "chat_id": validate_chat,
    "bot_token": validate_bot_token,
    "url": validate_webhook_url,
    "signing_key": validate_signing_key,
    "apprise_url": validate_apprise_url,
}
