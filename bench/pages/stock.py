"""Settings of the peer that pages are measured against: the same models in the admin as Django ships it."""

from bench.settings import *  # noqa: F403
from bench.settings import INSTALLED_APPS, TEMPLATES

ROOT_URLCONF = "bench.pages.stock_urls"
# First, so that its own templates are found.
INSTALLED_APPS = ["portal.apps.VigieAdminConfig", *(app for app in INSTALLED_APPS if "VigieAdminConfig" not in app)]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # which insists
]
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"
PROCESSORS = ["debug", "request", "i18n"]
TEMPLATES[0]["OPTIONS"]["context_processors"] = [
    *(f"django.template.context_processors.{name}" for name in PROCESSORS),
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
