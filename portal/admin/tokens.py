"""Tokens: issued here, shown once, revoked here; never changed, never deleted."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from vigie_client.contract import MACHINE_ID

from portal.access.tokens.issuing import issue_token, read_app_name, revoke_token, token_subject
from portal.admin.base import ReadOnlyAdmin
from portal.admin.confirm import RECENT, Confirmation, confirm_first
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column, stack_lines
from portal.admin.filters import ChoiceFilter
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.connect.guides import find_address, guides_for, is_local
from portal.desk.history import history_section, link_subject
from portal.desk.panels import Section, describe_token_uses
from portal.models import ApiToken
from portal.querysets import ApiTokenQuerySet

Kind = ApiToken.Kind


def token_state(token: ApiToken, now: datetime) -> SafeString:
    if token.revoked_at is not None:
        return badge(_("revoked"), QUIET)
    if token.is_expired(now):
        return badge(_("expired"), BAD)
    return badge(_("used up"), WARNING) if token.is_exhausted else badge(_("active"), GOOD)


# --- Issuing ---------------------------------------------------------------------------------------------------------


class IssueForm(forms.Form):
    """The form that issues a token. Machines get theirs by enrolling, never here."""

    required_css_class = "required"
    LIFETIMES: ClassVar[dict[str, Any]] = {
        "1": _("1 day"),
        "7": _("7 days"),
        "30": _("30 days"),
        "90": _("90 days"),
        "365": _("1 year"),
        "": _("does not expire"),
    }
    kind = forms.ChoiceField(
        label=_("Type"),
        choices=[
            (Kind.ENROLL, _("Enrolment (installers)")),
            (Kind.CLIENT, _("Application")),
            (Kind.STAFF, _("User (API)")),
        ],
    )
    label = forms.CharField(
        label=_("Description"), max_length=128, help_text=_("Purpose of the token, e.g. “Paris office”.")
    )
    lifetime = forms.ChoiceField(
        label=_("Expires"),
        choices=list(LIFETIMES.items()),
        required=False,
        initial="30",
        help_text=_("Every installed copy of an application stops reporting when its token expires."),
    )
    user = forms.ModelChoiceField(
        User.objects.none(),
        label=_("User"),
        required=False,
        empty_label=None,
        help_text=_("The token has the permissions of this user."),
    )
    max_uses = forms.IntegerField(
        label=_("Max uses"), min_value=1, max_value=1_000_000, required=False, help_text=_("Leave empty for unlimited.")
    )
    for_machine = forms.CharField(
        label=_("Machine"),
        max_length=128,
        required=False,
        validators=[RegexValidator(rf"\A{MACHINE_ID}\Z", _("This is not a machine ID."))],
        help_text=_(
            "The token enrols only this machine, without an operator’s approval. Leave empty to allow any machine."
        ),
    )
    app_names = forms.CharField(
        label=_("Applications"),
        max_length=1_000,
        required=False,
        help_text=_("The app_name values the token can report for, separated by commas. Leave empty to allow any."),
    )
    may_uninstall = forms.BooleanField(label=_("Can also uninstall machines"), required=False)

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        """Let users issue staff tokens for themselves only, except superusers: a token carries its user's rights."""
        super().__init__(*args, **kwargs)
        users = User.objects.filter(is_active=True, is_staff=True).order_by("username")
        self.fields["user"].queryset = users if user.is_superuser else users.filter(pk=user.pk)  # type: ignore[attr-defined]
        self.fields["user"].initial = user.pk

    def clean_app_names(self) -> list[str]:
        names = [name for name in self.cleaned_data["app_names"].split(",") if name.strip()]
        try:
            return list(dict.fromkeys(map(read_app_name, names)))
        except ValueError:
            raise forms.ValidationError(_("Use only letters, digits, spaces and . _ : + - in each name.")) from None

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        kind = cleaned.get("kind")
        if kind == Kind.STAFF and not cleaned.get("user") and "user" not in self.errors:
            self.add_error("user", _("A staff token needs a user."))
        if kind != Kind.STAFF:
            cleaned["user"] = None
        if kind != Kind.ENROLL:
            cleaned |= {"max_uses": None, "may_uninstall": False, "for_machine": ""}
        if kind != Kind.CLIENT:
            cleaned["app_names"] = []
        return cleaned

    def issue(self, request: HttpRequest) -> tuple[ApiToken, str]:
        cleaned = self.cleaned_data
        days = cleaned["lifetime"]
        return issue_token(
            cleaned["kind"],
            label=cleaned["label"],
            user=cleaned["user"],
            scopes=[ApiToken.Scope.UNINSTALL] if cleaned["may_uninstall"] else [],
            max_uses=cleaned["max_uses"],
            for_machine=cleaned["for_machine"],
            app_names=cleaned["app_names"],
            expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
            request=request,
        )


# --- Revoking --------------------------------------------------------------------------------------------------------


def describe_revocation(model_admin: Any, request: HttpRequest, queryset: ApiTokenQuerySet) -> Confirmation:
    """Say who uses the tokens. An application's token in use must be named: all its copies stop at once."""
    now, tokens = timezone.now(), list(queryset)
    count = len(tokens)
    used = [token for token in tokens if token.last_used_at and token.last_used_at > now - RECENT]
    stops = ngettext(
        "This token stops working at once. Programs that use it get the error token_revoked.",
        "These %(count)d tokens stop working at once. Programs that use them get the error token_revoked.",
        count,
    )
    recent = _("Used in the last 24 hours: %(count)d.")
    in_use = any(token.kind == Kind.CLIENT for token in used)
    return Confirmation(
        title=ngettext("Revoke token", "Revoke tokens", count),
        button=_("Revoke"),
        consequences=[
            stops % {"count": count},
            recent % {"count": len(used)},
            *describe_token_uses(tokens, now),
            _("A revoked token cannot be restored. Issue another to replace it."),
        ],
        typed=(tokens[0].name if count == 1 else str(count)) if in_use else "",
        remark=lambda token: token.binding,
    )


# --- The list --------------------------------------------------------------------------------------------------------


class KindFilter(ChoiceFilter):
    """Unless something is searched for, without the machines' tokens: the few that people issued would be lost."""

    title = _("type")
    parameter_name = "kind"
    options = {**dict(Kind.choices), "all": _("all")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q() if value == "all" else Q(kind=value)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None and not request.GET.get("q"):
            return queryset.filter(kind__in=[Kind.ENROLL, Kind.CLIENT, Kind.STAFF])
        return super().queryset(request, queryset)

    def choices(self, changelist: Any) -> Any:
        choices = super().choices(changelist)
        yield next(choices) | {"display": _("all") if changelist.query else _("all except machines")}
        yield from choices


class StateFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "state"
    options = {"usable": _("active"), "expired": _("expired"), "exhausted": _("used up"), "revoked": _("revoked")}

    def condition(self, value: str, now: datetime) -> Q:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
        used_up = Q(kind=Kind.ENROLL, uses__gte=F("max_uses"))
        return {
            "usable": Q(revoked_at=None) & unexpired & ~used_up,
            "expired": Q(revoked_at=None, expires_at__lte=now),
            "exhausted": Q(revoked_at=None) & unexpired & used_up,
            "revoked": Q(revoked_at__isnull=False),
        }[value]


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    menu_order = 1
    ordering = ("-id",)
    sortable_by = ("last_used_at", "expires_at", "issued_by", "created_at")
    list_display = (
        "name",
        "kind_and_binding",
        "state",
        "uses_left",
        moment_column("last_used_at", _("last used"), ordering="last_used_at", empty=_("never")),
        moment_column("expires_at", _("expires"), ordering="expires_at", empty=_("never")),
        "issued_by",
        moment_column("created_at", _("issued"), ordering="created_at"),
    )
    list_filter = (KindFilter, StateFilter)
    lookups = ("user",)
    is_large = True
    search_fields = ("key__begins", "label__fragment")
    search_help_text = search_by(_("public key"), _("description"))
    add_label = _("Issue a token")
    purpose = _("Credentials of the API: issue one to enrol machines, for an application or for a user.")
    actions = ("revoke_chosen", "export_chosen", "export_chosen_xlsx")
    object_actions = ("revoke_chosen",)
    facts = (
        "name",
        "state",
        "kind",
        "key",
        "user",
        "may",
        "bound_to",
        "uses_left",
        moment_column("last_used_at", _("last used"), show=exact_moment, empty=_("never")),
        moment_column("expires_at", _("expires"), show=exact_moment, empty=_("never")),
        moment_column("created_at", _("issued"), show=exact_moment),
        "issued_by",
        moment_column("revoked_at", _("revoked"), show=exact_moment),
        "revoked_reason",
    )

    @admin.display(description=_("description"))
    def name(self, token: ApiToken) -> str:
        return token.name

    @admin.display(description=_("issued by"), ordering="created_by")
    def issued_by(self, token: ApiToken) -> str:
        return link_subject(token.created_by)

    @admin.display(description=_("status"))
    def state(self, token: ApiToken) -> SafeString:
        return token_state(token, timezone.now())

    @admin.display(description=_("uses left"))
    def uses_left(self, token: ApiToken) -> str:
        """Return what is left of the limit; only enrolments are counted."""
        if token.kind != Kind.ENROLL:
            return EMPTY_VALUE
        if token.max_uses is None:
            return gettext("unlimited (%(uses)d used)") % {"uses": token.uses}
        return gettext("%(left)d of %(most)d") % {"left": max(0, token.max_uses - token.uses), "most": token.max_uses}

    @admin.display(description=_("permissions"))
    def may(self, token: ApiToken) -> str:
        return ", ".join(str(label) for scope, label in ApiToken.Scope.choices if token.allows(scope)) or EMPTY_VALUE

    @admin.display(description=_("type"))
    def kind_and_binding(self, token: ApiToken) -> SafeString:
        return stack_lines(token.get_kind_display(), token.binding)

    @admin.display(description=_("restricted to"))
    def bound_to(self, token: ApiToken) -> str:
        return token.binding or EMPTY_VALUE

    def get_sections(self, request: HttpRequest, obj: ApiToken) -> list[Section]:
        return [history_section(token_subject(obj))]

    # --- Revoking ----------------------------------------------------------------------------------------------------

    @confirm_first(describe_revocation)
    @admin.action(description=_("Revoke…"), permissions=["manage"])
    def revoke_chosen(self, request: HttpRequest, queryset: ApiTokenQuerySet) -> None:
        ended = revoke_token(queryset, "operator", request=request)
        text = ngettext("%(count)d token was revoked.", "%(count)d tokens were revoked.", ended) % {"count": ended}
        self.message_user(request, text, messages.SUCCESS if ended else messages.WARNING)

    revoke_chosen.dangerous = True  # type: ignore[attr-defined]

    def can_act(self, obj: ApiToken, action: str) -> bool:
        return obj.revoked_at is None

    # --- Issuing -----------------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("portal.add_apitoken"))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        proposed = {name: request.GET[name] for name in ("kind", "for_machine", "max_uses") if name in request.GET}
        form = IssueForm(request.user, request.POST or None, initial=proposed)
        if form.is_valid():
            return self.show_once(request, *form.issue(request))
        return self.render_page(request, "portal/issue_token.html", _("Issue a token"), form=form)

    def show_once(self, request: HttpRequest, token: ApiToken, plain: str) -> HttpResponse:
        """Show the token for the only time; reloading the page issues another."""
        portal_url = find_address(request)
        context = {
            "token": token,
            "plain": plain,
            "expires": exact_moment(token.expires_at, _("never")),
            "guides": guides_for(token.kind, portal_url),
            "local_url": portal_url if is_local(portal_url) else "",
        }
        return self.render_page(request, "portal/token_issued.html", _("Token issued"), **context)
