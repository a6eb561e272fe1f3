"""Django settings. Each installation sets its own through the environment: see docs/settings.md."""

import os
import sys
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from portal.access.signin.replaced import ACCOUNT_FORMS as ACCOUNT_FORMS
from portal.access.signin.replaced import MFA_FORMS as MFA_FORMS
from portal.access.sso import issuer
from portal.access.tokens import peppers
from portal.base import encryption
from portal.base.addresses import parse_networks
from portal.base.env import SQLITE, Environment, at_least, host_of
from portal.base.logs import LOGGING as LOGGING
from portal.egress.store_address import read_store

# The least that Python allows: reading digits takes quadratic time, and no number here has more.
sys.set_int_max_str_digits(640)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

# --- Where things are kept -------------------------------------------------------------------------------------------

# Importing this module creates nothing: `manage.py prepare` creates the directories and generates the secrets.
IS_CHECKOUT = (BASE_DIR / "pyproject.toml").exists()
HOME_DATA_DIR = Path(os.path.expanduser("~/.local/share/vigie"))
VIGIE_DATA_DIR = env.path("VIGIE_DATA_DIR", (BASE_DIR / "var").resolve() if IS_CHECKOUT else HOME_DATA_DIR)
SECRETS_DIR = VIGIE_DATA_DIR / "secrets"
DEPOSITS_ROOT = env.path("DEPOSITS_ROOT", VIGIE_DATA_DIR / "deposits")
VALIDATED_ROOT = env.path("VALIDATED_ROOT", VIGIE_DATA_DIR / "validated")
REPORTS_ROOT = env.path("REPORTS_ROOT", VIGIE_DATA_DIR / "reports")

# --- Secrets ---------------------------------------------------------------------------------------------------------

SECRET_KEY = env.secret("SECRET_KEY", SECRETS_DIR, at_least(50, "SECRET_KEY"))
TOKEN_PEPPERS = env.secret("TOKEN_PEPPER", SECRETS_DIR, peppers.parse_peppers)
METRICS_TOKEN = env.secret("METRICS_TOKEN", SECRETS_DIR)
ENCRYPTION_KEYS = env.secret("ENCRYPTION_KEY", SECRETS_DIR, encryption.parse_keys)

# --- Where the portal stands -----------------------------------------------------------------------------------------

DEBUG = env.boolean("DEBUG")
PORTAL_URL = env.address("PORTAL_URL", "http://127.0.0.1:8000")
PUBLISHER_NAME = env.text("PUBLISHER_NAME")
PORTAL_URL_IS_GIVEN = env.raw("PORTAL_URL") is not None
ALLOWED_HOSTS = [*env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]"), host_of(PORTAL_URL)]
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
TRUSTED_PROXIES = parse_networks("TRUSTED_PROXIES", env.words("TRUSTED_PROXIES"))
HTTPS = env.boolean("HTTPS")

SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if HTTPS:
    # Browsers accept these names only for this very host, by HTTPS: no other subdomain can set such a cookie.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
# `portal.checks` says in one sentence what these four would say: no HSTS, no redirect, no secure cookies.
SILENCED_SYSTEM_CHECKS = [] if HTTPS else [f"security.{name}" for name in ("W004", "W008", "W012", "W016")]
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- Applications ----------------------------------------------------------------------------------------------------

OWN_APPS = {"portal", "agents", "usage", "backups", "monitoring", "beta"}  # whose permissions the roles hold
INSTALLED_APPS = [
    "portal.apps.PortalConfig",  # before the admin, some of whose templates it replaces
    "portal.apps.VigieAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "corsheaders",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "agents.apps.AgentsConfig",
    "usage.apps.UsageConfig",
    "backups.apps.BackupsConfig",
    "monitoring.apps.MonitoringConfig",
    "beta.apps.BetaConfig",
]
MIDDLEWARE = [
    "portal.base.addresses.ClientAddressMiddleware",
    "portal.base.logs.AccessLogMiddleware",
    "portal.access.middleware.NoStoreMiddleware",
    "usage.tracking.middleware.TrackingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "portal.base.uploads.FormSizeMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.access.middleware.SignedInMiddleware",
    "portal.access.signin.devices.KnownDeviceMiddleware",
    "portal.access.signin.too_many_attempts.TooManyAttemptsMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_ENGINE = "usage.tracking.sessions"
CSRF_FAILURE_VIEW = "portal.api.errors.csrf_failure"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.access.context.account_pages",
                "portal.access.context.second_factor",
            ],
        },
    }
]
FORM_RENDERER = "portal.forms.FormRenderer"

# --- Signing in ------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["portal.access.backends.PasswordBackend"]
PASSWORD_HASHERS = ["portal.access.signin.hashing.BoundedPasswordHasher"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "portal.access.accounts.first_password.FirstPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3_600
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105 - a class
SECOND_FACTOR = env.choice("SECOND_FACTOR", "superusers", ["optional", "superusers", "required"])
SESSION_IDLE_HOURS = env.integer("SESSION_IDLE_HOURS", 12, least=1, most=720)
SESSION_COOKIE_AGE = SESSION_IDLE_HOURS * 3600
LOGIN_URL = LOGOUT_REDIRECT_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
ACCOUNT_ADAPTER = "portal.access.signin.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
# allauth counts in the cache, and no cache is shared by the processes.
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
MFA_ADAPTER = "portal.access.signin.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER, MFA_TOTP_TOLERANCE = "Vigie", 1
# Browsers offer passkeys over http at localhost only: an installation that is tried out there may have them.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PORTAL_URL.startswith("https:")

# --- Single sign-on --------------------------------------------------------------------------------------------------

oidc = issuer.read_issuer(env)
OIDC_ISSUER, OIDC_ALLOWED_DOMAINS, OIDC_ROLE_CLAIM = oidc.issuer, oidc.domains, oidc.role_claim
SOCIALACCOUNT_PROVIDERS, SOCIALACCOUNT_ADAPTER = oidc.providers(), "portal.access.sso.oidc.SocialAdapter"

# --- Database --------------------------------------------------------------------------------------------------------

database = env.database("DATABASE_URL", VIGIE_DATA_DIR / "db.sqlite3")
# A cursor of the server outlives its transaction, after which a pooler may give the connection to another client.
database["DISABLE_SERVER_SIDE_CURSORS"] = env.boolean("DATABASE_POOLED")
if database["ENGINE"] == SQLITE:
    database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    # Simultaneity on an in-memory SQLite fails for its own reasons, so tests use a file too.
    database["TEST"] = {"NAME": str(VIGIE_DATA_DIR / "test.sqlite3")}
else:
    database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"] = 600, True
    # A server that vanished without a word, with its host or its network, is given up within half a minute.
    silence = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
    database["OPTIONS"] = {"connect_timeout": 10} | silence | database["OPTIONS"]
DATABASES = {"default": database}

# --- Languages and times ---------------------------------------------------------------------------------------------

LANGUAGES = [("en", "English"), ("fr", "Français")]
# Of what the portal sends, and of pages for whoever asks for none of them.
LANGUAGE_CODE = env.choice("PORTAL_LANGUAGE", "en", [code for code, _ in LANGUAGES])
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
FORMAT_MODULE_PATH = "portal.formats"
USE_TZ = True
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")

# --- Files served ----------------------------------------------------------------------------------------------------

STATIC_URL, STATIC_ROOT = "/static/", VIGIE_DATA_DIR / "static"
WHITENOISE_ALLOW_ALL_ORIGINS = False
# Pages name files by their hash, so the copies of the original names are neither compressed nor kept.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- Files received -------------------------------------------------------------------------------------------------

FILE_UPLOAD_HANDLERS = [
    "portal.base.uploads.BoundedUploadHandler",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# --- Mail ------------------------------------------------------------------------------------------------------------

mail = env.email("EMAIL_URL", "dummymail://")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = mail["EMAIL_BACKEND"], mail["EMAIL_HOST"], mail["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail["EMAIL_HOST_USER"], mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = mail["EMAIL_USE_TLS"], mail["EMAIL_USE_SSL"]
EMAIL_FILE_PATH, EMAIL_TIMEOUT = mail["EMAIL_FILE_PATH"], 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("DEFAULT_FROM_EMAIL", "vigie@localhost")

# --- Telegram --------------------------------------------------------------------------------------------------------

TELEGRAM_BOT_TOKEN = env.text("TELEGRAM_BOT_TOKEN") or env.text("TELEGRAM_TOKEN")
TELEGRAM_CHAT_ID = env.chat("TELEGRAM_CHAT_ID")
TELEGRAM_API_BASE = env.address("TELEGRAM_API_BASE", "https://api.telegram.org")

# --- API -------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "agents.authentication.MachineBearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "portal.api.negotiation.AlwaysFirstRenderer",
    "DEFAULT_SCHEMA_CLASS": "portal.api.schema.Schema",
    "EXCEPTION_HANDLER": "portal.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
# Pages of other origins may send feedback by a programme's key; `beta.api.cors` says which.
CORS_URLS_REGEX = r"^/api/v1/beta/feedback\Z"
CORS_ALLOW_METHODS = ["POST"]
CORS_ALLOW_HEADERS = ["content-type"]
CORS_EXPOSE_HEADERS = ["retry-after"]
SPECTACULAR_SETTINGS = {
    "TITLE": "Vigie",
    "DESCRIPTION": "Machines, usage, backups and services of a small software publisher.",
    "VERSION": "1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": ["rest_framework.authentication.SessionAuthentication"],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": r"/api/v1/",
    # What becomes of each item of a batch, in every call that takes several, and of the only one in the others.
    "ENUM_NAME_OVERRIDES": {
        "ItemStatusEnum": ["recorded", "duplicate", "conflict", "invalid"],
        "StatusEnum": ["recorded", "duplicate"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.schema.add_problem",
    ],
    "AUTHENTICATION_WHITELIST": ["agents.authentication.MachineBearerAuthentication"],
}

# --- Work in the background ------------------------------------------------------------------------------------------

WEB_WORKERS = env.integer("WEB_WORKERS", 2, least=1, most=64)
WEB_THREADS = env.integer("WEB_THREADS", 16, least=1, most=64)
# One watches the targets, a second may still be ending the round before; whoever else has work needs a third.
QUICK_WORKERS = env.integer("QUICK_WORKERS", 3, least=2, most=64)
SLOW_WORKERS = env.integer("SLOW_WORKERS", 2, least=2, most=64)  # a restore drill may take one for an hour
Q_CLUSTER: dict[str, Any] = {
    "name": "vigie",
    "orm": "default",
    "save_limit": 0,
    "ack_failures": True,
    "catch_up": False,
    "log_level": "WARNING",
    # A task that a killed worker leaves behind comes back after `retry`; `timeout` must have ended it by then.
    "workers": QUICK_WORKERS,
    "timeout": 120,
    "retry": 180,
    "ALT_CLUSTERS": {
        "quick": {"workers": QUICK_WORKERS, "timeout": 120, "retry": 180},
        "slow": {"workers": SLOW_WORKERS, "timeout": 7_200, "retry": 7_500},
    },
}
# Longer than the longest task may take: what runs when the portal is asked to end may finish.
STOP_GRACE_SECONDS = env.integer("STOP_GRACE_SECONDS", 7_260, least=1, most=86_400)

# --- Thresholds ------------------------------------------------------------------------------------------------------

AUTH_FAILURES_PER_MINUTE = env.integer("AUTH_FAILURES_PER_MINUTE", 1_000, least=1)
DISK_WARNING_MIB = env.integer("DISK_WARNING_MIB", 2_048, least=0, most=2**40)
DISK_RESERVE_MIB = env.integer("DISK_RESERVE_MIB", 256, least=1, most=2**40)
AUDIT_RETENTION_DAYS = env.integer("AUDIT_RETENTION_DAYS", 365, least=1)
JOB_RETENTION_DAYS = env.integer("JOB_RETENTION_DAYS", 30, least=1)
HEARTBEAT_INTERVAL_SECONDS = env.integer("HEARTBEAT_INTERVAL_SECONDS", 300, least=10, most=86_400)
NOTIFICATION_RETENTION_DAYS = env.integer("NOTIFICATION_RETENTION_DAYS", 90, least=1)
DEPOSIT_MAX_BYTES = env.integer("DEPOSIT_MAX_BYTES", 2**40, least=1, most=2**50)
OFFSITE_URL = read_store(env, "OFFSITE_URL")
DRILL_POSTGRES_URL, DRILL_MYSQL_URL = env.url("DRILL_POSTGRES_URL", "postgresql"), env.url("DRILL_MYSQL_URL", "mysql")
DRILL_TIMEOUT_SECONDS = env.integer("DRILL_TIMEOUT_SECONDS", 3_600, least=1, most=5_700)
DRILL_MAX_BYTES = env.integer("DRILL_MAX_BYTES", 0, least=0, most=2**50)  # 0: ten times the unpacked dump
ENROLMENT_APPROVAL = env.choice("ENROLMENT_APPROVAL", "backups", ("backups", "always", "never"))
AGENT_LOST_DAYS = env.integer("AGENT_LOST_DAYS", 30, least=1, most=3_650)

# --- Monitoring ------------------------------------------------------------------------------------------------------

PROBE_ALLOW_PRIVATE = env.boolean("PROBE_ALLOW_PRIVATE", default=True)
PROBE_THREADS = env.integer("PROBE_THREADS", 512, least=1, most=4_096)
CONNECTIVITY_PROBES = env.endpoints("CONNECTIVITY_PROBES", "1.1.1.1:443,9.9.9.9:443")
MONITORED_BASE = env.text("APP_URL")
FLEET_ERROR_PERCENT = env.integer("FLEET_ERROR_PERCENT", 1, least=0, most=100)
FLEET_LATENCY_SHOWN_MS = env.integer("FLEET_LATENCY_SHOWN_MS", 500, least=1)
FLEET_LATENCY_ALERT_MS = env.integer("FLEET_LATENCY_ALERT_MS", 1_000, least=1)
INCIDENT_REMINDER_MINUTES = env.integer("INCIDENT_REMINDER_MINUTES", 180, least=1)
CHECK_RETENTION_DAYS = env.integer("CHECK_RETENTION_DAYS", 7, least=2)
MINUTE_ROLLUP_RETENTION_DAYS = env.integer("MINUTE_ROLLUP_RETENTION_DAYS", 30, least=2)

# --- Backups of the portal ------------------------------------------------------------------------------------------

PORTAL_BACKUP_TARGET = env.text("PORTAL_BACKUP_TARGET")
if "://" in PORTAL_BACKUP_TARGET:
    read_store(env, "PORTAL_BACKUP_TARGET")  # refuses a bad one
PORTAL_BACKUP_PASSPHRASE = env.text("PORTAL_BACKUP_PASSPHRASE")
PORTAL_BACKUP_KEEP = env.integer("PORTAL_BACKUP_KEEP", 14, least=1, most=3_650)
env.require_together("PORTAL_BACKUP_TARGET", "PORTAL_BACKUP_PASSPHRASE")

# --- The beta programme ----------------------------------------------------------------------------------------------

FEEDBACK_PER_KEY_AND_MINUTE = env.integer("FEEDBACK_PER_KEY_AND_MINUTE", 120, least=1)
FEEDBACK_PER_ADDRESS_AND_HOUR = env.integer("FEEDBACK_PER_ADDRESS_AND_HOUR", 60, least=1)
FEEDBACK_RETENTION_DAYS = env.integer("FEEDBACK_RETENTION_DAYS", 730, least=1)

# --- Usage -----------------------------------------------------------------------------------------------------------

TRACKING = env.boolean("TRACKING", default=True)
# Routes that say nothing of what anybody does. What the portal is probed by, and static files, are never tracked.
TRACKING_EXCLUDE = frozenset(env.words("TRACKING_EXCLUDE", "agent-heartbeat,admin:jsi18n"))
TRACKING_SAMPLE_PERCENT = env.integer("TRACKING_SAMPLE_PERCENT", 100, least=1, most=100)
TRACKING_BUFFER = env.integer("TRACKING_BUFFER", 10_000, least=100, most=1_000_000)
ACTIVITY_RETENTION_DAYS = env.integer("ACTIVITY_RETENTION_DAYS", 90, least=1)
USER_SESSION_RETENTION_DAYS = env.integer("USER_SESSION_RETENTION_DAYS", 365, least=1)
GUARDIAN_RETENTION_DAYS = env.integer("GUARDIAN_RETENTION_DAYS", 365, least=1)
GUARDIAN_RECIPIENTS = env.emails("GUARDIAN_RECIPIENTS")
