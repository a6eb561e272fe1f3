"""Forms of allauth that the portal replaces."""

GUARDED = "portal.access.signin.guarded"
ACCOUNT_FORMS = {
    "login": f"{GUARDED}.SignInForm",
    "change_password": f"{GUARDED}.ChangePasswordForm",
    "set_password": f"{GUARDED}.SetPasswordForm",
    "reset_password": f"{GUARDED}.ResetPasswordForm",
}
MFA_FORMS = {
    "authenticate": f"{GUARDED}.AuthenticateForm",
    "reauthenticate": f"{GUARDED}.ReauthenticateForm",
    "add_webauthn": f"{GUARDED}.AddWebAuthnForm",
    "edit_webauthn": f"{GUARDED}.EditWebAuthnForm",
    "authenticate_webauthn": f"{GUARDED}.AuthenticateWebAuthnForm",
    "reauthenticate_webauthn": f"{GUARDED}.ReauthenticateWebAuthnForm",
    "login_webauthn": f"{GUARDED}.LoginWebAuthnForm",
}
