"""The portal's own settings, and a bare view beside its calls to measure them against."""

import logging
from ipaddress import ip_network

from portal.settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
LOGGING_CONFIG = None
LOGGING = {}  # nobody reads the lines; both sides of each ratio go without
logging.getLogger("django").setLevel(logging.CRITICAL)
TRUSTED_PROXIES = [ip_network("127.0.0.1")]  # a benchmark speaks for many addresses
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
FEEDBACK_PER_KEY_AND_MINUTE = FEEDBACK_PER_ADDRESS_AND_HOUR = 10**6
