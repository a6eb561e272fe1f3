"""Name lookups with a deadline. The system's resolver has none, so it runs in threads that can be abandoned.

They are daemon threads: a lookup that hangs does not keep a process from ending.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from queue import SimpleQueue

from portal.egress.connection import time_left

# Takes a host and a deadline of the monotonic clock. Raises OSError, of which TimeoutError is one.
Resolver = Callable[[str, float], Sequence[str]]
# Threads start when they are needed. Names that all begin to hang at once must not fill the first lane.
QUICK_THREADS, SLOW_THREADS = 512, 64
MOST_SLOW_HOSTS = 10_000


def system_addresses(host: str) -> list[str]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(eq=False)
class Lookup:
    host: str
    wanted_until: float
    has_begun: bool = False
    is_over: threading.Event = field(default_factory=threading.Event)
    addresses: list[str] = field(default_factory=list)
    error: OSError | None = None


class Lane:
    """A queue and its daemon threads, each started when all others are busy."""

    def __init__(self, work: Callable[[Lookup], None], threads: int) -> None:
        self.work = work
        self.threads = threads
        self.queue: SimpleQueue[Lookup] = SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.count = 0

    def put(self, lookup: Lookup) -> None:
        self.queue.put(lookup)
        if not self.idle.acquire(blocking=False) and self.count < self.threads:
            self.count += 1
            threading.Thread(target=self.run, name="lookup", daemon=True).start()

    def run(self) -> None:
        while True:
            self.work(self.queue.get())
            self.idle.release()


class Lookups:
    """A resolver that merges simultaneous lookups of one host.

    Hosts that missed their deadline last time have threads of their own, so that dead name servers delay no others.
    """

    def __init__(self, look_up: Callable[[str], list[str]] = system_addresses) -> None:
        self.look_up = look_up
        self.forget()

    def forget(self) -> None:
        """Reset all state, also in the child of a fork, which inherits no threads."""
        self.lock = threading.Lock()
        self.running: dict[str, Lookup] = {}
        self.slow_hosts: set[str] = set()
        self.quick, self.slow = Lane(self.work, QUICK_THREADS), Lane(self.work, SLOW_THREADS)

    def __call__(self, host: str, deadline: float) -> list[str]:
        """Raises OSError: that of the resolver, or TimeoutError at the deadline."""
        if is_address(host):
            return [host]
        lookup = self.joined(host, deadline)
        is_over = lookup.is_over.wait(max(deadline - time.monotonic(), 0))
        if not is_over or isinstance(lookup.error, TimeoutError):
            if lookup.has_begun:
                self.note_slow(host)
            raise TimeoutError
        if lookup.error is not None:
            raise type(lookup.error)(*lookup.error.args)
        return lookup.addresses

    def joined(self, host: str, deadline: float) -> Lookup:
        with self.lock:
            lookup = self.running.get(host)
            if lookup is None:
                lookup = self.running[host] = Lookup(host, deadline)
                (self.slow if host in self.slow_hosts else self.quick).put(lookup)
            lookup.wanted_until = max(lookup.wanted_until, deadline)
            return lookup

    def work(self, lookup: Lookup) -> None:
        """Do one lookup, unless nobody waits for it any more."""
        try:
            time_left(lookup.wanted_until)
            lookup.has_begun = True
            lookup.addresses = self.look_up(lookup.host)
        except (OSError, UnicodeError) as error:
            lookup.error = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, "")
        with self.lock:
            self.running.pop(lookup.host, None)
            if time.monotonic() < lookup.wanted_until:
                self.slow_hosts.discard(lookup.host)
        lookup.is_over.set()

    def note_slow(self, host: str) -> None:
        with self.lock:
            if len(self.slow_hosts) >= MOST_SLOW_HOSTS:  # redirects may lead to any number of names
                self.slow_hosts.clear()
            self.slow_hosts.add(host)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


system_resolver = Lookups()
os.register_at_fork(after_in_child=system_resolver.forget)
