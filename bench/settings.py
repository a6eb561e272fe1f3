"""The portal's own settings, and a bare view beside its calls to measure them against."""

from portal.settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
LOGGING_CONFIG = None
LOGGING = {}  # nobody reads the lines; both sides of each ratio go without
