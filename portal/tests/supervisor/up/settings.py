"""The portal's settings, with an app whose tasks do what tests need done by real workers."""

from portal.settings import *  # noqa: F403
from portal.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "portal.tests.supervisor.up"]
