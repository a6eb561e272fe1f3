"""Inviting users from the admin's list of users: an e-mail address and roles instead of a first password."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from portal.access import roles
from portal.access.accounts import invitations, mail
from portal.admin.base import GuardedAdmin
from portal.models import ApiToken


class RolesField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Groups as checkboxes that say what each role may do."""

    widget = forms.CheckboxSelectMultiple(attrs={"class": "roles"})

    def label_from_instance(self, obj: Group) -> str:
        return roles.describe_role(obj)


class InviteForm(forms.Form):
    required_css_class = "required"
    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    first_name = forms.CharField(label=_("First name"), max_length=150, required=False)
    last_name = forms.CharField(label=_("Last name"), max_length=150, required=False)
    roles = RolesField(Group.objects.none(), label=_("Roles"))

    def __init__(self, inviter: User, *args: Any, **kwargs: Any) -> None:
        """Offer the roles that the inviter may give: nobody invites to more than they may do themselves."""
        super().__init__(*args, **kwargs)
        self.fields["roles"].queryset = roles.roles_given_by(inviter)  # type: ignore[attr-defined]

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError(_("A user with this e-mail address exists."))
        return email

    def invite(self, request: HttpRequest) -> User:
        cleaned = self.cleaned_data
        return invitations.invite_user(
            request, cleaned["email"], (cleaned["first_name"], cleaned["last_name"]), cleaned["roles"]
        )


class Inviting(GuardedAdmin):
    """A user admin whose *Add* invites. A pending invitation can be sent again or withdrawn."""

    change_form_template = "portal/user.html"

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            path("<path:object_id>/invite/", wrap(self.invite_again_view), name="auth_user_invite"),
            path("<path:object_id>/withdraw/", wrap(self.withdraw_view), name="auth_user_withdraw"),
        ]
        return own + super().get_urls()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may invite.

        Only superusers see links, so others need a mail server: with a link they could take the account before its
        owner, to whom single sign-on may later give more roles in it.
        """
        user = request.user
        return bool(user.is_superuser or (mail.can_send() and user.has_perm("auth.add_user")))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            return RolesField(Group.objects.order_by("pk"), label=_("Roles and groups"), required=False)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"add_label": _("Invite a user")} | (extra_context or {}))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = InviteForm(request.user, request.POST or None)  # type: ignore[arg-type]
        if form.is_valid():
            return self.show_invitation(request, form.invite(request))
        return self.render_page(request, "portal/invite.html", _("Invite a user"), form=form, can_send=mail.can_send())

    def show_invitation(self, request: HttpRequest, user: User) -> HttpResponse:
        """Mail the link. Where no mail can be sent superusers see it, once."""
        is_sent, sees_link = False, request.user.is_superuser
        if mail.can_send():
            try:
                invitations.send_invitation(user, request.user, get_language() or "en")  # type: ignore[arg-type]
                is_sent = True
            except OSError as error:
                if sees_link:
                    text = _("The mail server refused the invitation (%(error)s). Copy the link instead.")
                else:
                    text = _("The mail server refused the invitation (%(error)s). Invite the user again later.")
                messages.error(request, text % {"error": type(error).__name__})
        context = {"invited": user, "is_sent": is_sent, "days": invitations.VALID_FOR.days}
        link = invitations.invitation_link(user) if sees_link and not is_sent else ""
        return self.render_page(request, "portal/invited.html", _("User invited"), link=link, **context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        user = kwargs.get("obj")
        is_open = user is not None and invitations.is_pending(user) and self.may_invite(request, user)
        return super().render_change_form(request, context | {"is_invited": is_open}, *args, **kwargs)

    def may_invite(self, request: HttpRequest, user: User) -> bool:
        """Return whether the inviter may give all that the user has: a new link opens the account to who copies it."""
        if not self.has_add_permission(request):
            return False
        grantable = set(roles.roles_given_by(request.user))
        is_equal = set(user.groups.all()) <= grantable and not user.is_superuser and not user.user_permissions.exists()
        return is_equal or bool(request.user.is_superuser)

    def pending(self, request: HttpRequest, object_id: str) -> User:
        """Return the invited user. Raises PermissionDenied before it looks, and Http404."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: User | None = self.get_object(request, unquote(object_id))
        if user is None or not invitations.is_pending(user):
            raise Http404
        if not self.may_invite(request, user):
            raise PermissionDenied
        return user

    def invite_again_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        user = self.pending(request, object_id)
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user.pk]))
        invitations.renew_invitation(request, user)
        return self.show_invitation(request, user)

    def withdraw_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        user = self.pending(request, object_id)
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user.pk]))
        # Without a password, and never signed in, an account made for its tokens alone looks like an invited one.
        if ApiToken.objects.usable(timezone.now()).filter(user=user).exists():
            messages.error(request, _("This user has valid tokens. Revoke them before you withdraw the invitation."))
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user.pk]))
        invitations.withdraw_invitation(request, user)
        messages.success(request, _("The invitation was withdrawn and the user deleted."))
        return HttpResponseRedirect(reverse("admin:auth_user_changelist"))
