"""Password hashing that cannot take the whole machine: every hash of a password goes through this hasher.

PBKDF2 costs half a second of CPU and releases the interpreter's lock, so each simultaneous hash takes a core. Django
hashes wrong and right passwords, those of unknown users and new ones alike.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from portal.access.signin.too_many_attempts import TooManyAttempts

MOST_AT_ONCE = 2
MOST_WAITING = 4  # each holds a thread of the web server
WAIT_SECONDS = 2.0
RETRY_AFTER_SECONDS = 5
NICENESS = 10

running = threading.BoundedSemaphore(MOST_AT_ONCE)
admitted = threading.BoundedSemaphore(MOST_AT_ONCE + MOST_WAITING)


@contextlib.contextmanager
def hashing_slot() -> Iterator[None]:
    """Hold one of this process's places to hash in. Raises TooManyAttempts where none becomes free in time."""
    if not admitted.acquire(blocking=False):
        raise TooManyAttempts(RETRY_AFTER_SECONDS)
    try:
        if not running.acquire(timeout=WAIT_SECONDS):
            raise TooManyAttempts(RETRY_AFTER_SECONDS)
        try:
            yield
        finally:
            running.release()
    finally:
        admitted.release()


class BoundedPasswordHasher(PBKDF2PasswordHasher):
    """Django's default hasher, at most MOST_AT_ONCE at a time in a process."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with hashing_slot(), ThreadPoolExecutor(1, initializer=yield_to_others) as pool:
            return pool.submit(super().encode, password, salt, iterations).result()


def yield_to_others() -> None:
    """Lower the priority of this thread, which Linux alone has: heartbeats come before guesses at passwords."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
