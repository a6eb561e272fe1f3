"""The page on which an invited user chooses a password."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from portal.access.accounts import invitations


class AcceptForm(SetPasswordForm):  # type: ignore[type-arg]
    first_name = forms.CharField(label=_("First name"), max_length=150, required=False)
    last_name = forms.CharField(label=_("Last name"), max_length=150, required=False)
    field_order = ("first_name", "last_name", "new_password1", "new_password2")


@method_decorator(sensitive_post_parameters("new_password1", "new_password2"), name="dispatch")
class AcceptInvitationView(FormView):  # type: ignore[type-arg]
    """Answer 404 to a link that has ended: expired, replaced, withdrawn, or used."""

    template_name = "account/invitation.html"
    form_class = AcceptForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = invitations.find_invited_user(kwargs["token"])
        if user is None:
            return render(request, "account/invitation_ended.html", status=404)
        self.user = user
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        initial = {"first_name": self.user.first_name, "last_name": self.user.last_name}
        return super().get_form_kwargs() | {"user": self.user, "initial": initial}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs, invited=self.user)

    def form_valid(self, form: AcceptForm) -> HttpResponse:
        self.user.first_name, self.user.last_name = form.cleaned_data["first_name"], form.cleaned_data["last_name"]
        if not invitations.accept_invitation(self.request, self.user, form.cleaned_data["new_password1"]):
            return render(self.request, "account/invitation_ended.html", status=404)
        messages.success(self.request, _("Your account is ready. Sign in with your password."))
        return redirect("account_login")
