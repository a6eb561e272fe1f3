"""`manage.py pulse`: enqueues what is due. `manage.py up` runs one per node."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from portal.supervisor import lifeline
from portal.work.pulse import beat_until


class Command(BaseCommand):
    help = "Enqueues due jobs and notifications, every second. `manage.py up` runs one pulse per node."
    is_ending = False

    def note_signal(self, number: int, frame: object) -> None:
        self.is_ending = True

    def handle(self, *args: Any, **options: Any) -> None:
        lifeline.lead_group()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.note_signal)
        lifeline.watch_lifeline()
        beat_until(lambda: self.is_ending)
