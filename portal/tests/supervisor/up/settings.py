"""The portal's settings for tests that use real workers, plus an app with their tasks."""

from portal.settings import *  # noqa: F403
from portal.settings import INSTALLED_APPS, Q_CLUSTER

# One slow worker, so that a test knows which process runs a task.
Q_CLUSTER["ALT_CLUSTERS"]["slow"] |= {"workers": 1}
INSTALLED_APPS = [*INSTALLED_APPS, "portal.tests.supervisor.up"]
