"""The portal's settings plus an app with tasks for tests that use real workers."""

from portal.settings import *  # noqa: F403
from portal.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "portal.tests.supervisor.up"]
