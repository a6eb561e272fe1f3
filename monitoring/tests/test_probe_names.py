"""Names: looked up once per hop, within the deadline, and never in the way of others."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from monitoring.probe.http import probe_http
from monitoring.probe.spec import Spec
from portal.egress import guard
from portal.egress.lookup import SLOW_THREADS, Lookups
from portal.tests.helpers.hostile_servers import Names, Server, answer, redirects, says

SHORT = 0.3


def outcome_of(names, url="http://name.example", **options):
    outcome = probe_http(Spec(url, timeout=SHORT), resolve=names, **options)
    return outcome.error_kind, outcome.detail


def test_connection_goes_to_the_checked_address():
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    with Server(says(answer())) as server:
        assert outcome_of(names, f"http://name.example:{server.port}") == ("", "")
    assert server.connections == 1
    assert names.asked == ["name.example"]
    assert f"Host: name.example:{server.port}\r\n".encode() in server.requests[0]


def test_each_redirect_resolves_and_checks_its_name_once():
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    with Server(redirects("/again")) as server:
        assert outcome_of(names, f"http://name.example:{server.port}") == ("blocked", "169.254.169.254")
    assert server.connections == 1
    assert names.asked == ["name.example"] * 2


def test_redirect_to_a_private_address_is_blocked(monkeypatch):
    judged = guard.address_refusal
    monkeypatch.setattr(
        guard, "address_refusal", lambda address, allowed: address != "127.0.0.1" and judged(address, allowed)
    )
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with Server(redirects("http://inner.example/")) as server:
        url = f"http://name.example:{server.port}"
        assert outcome_of(names, url, allow_private=False) == ("blocked", "10.0.0.1")
    assert names.asked == ["name.example", "inner.example"]


@pytest.mark.parametrize("addresses", [["169.254.169.254", "127.0.0.1"], ["127.0.0.1", "169.254.169.254"]])
def test_only_allowed_addresses_are_connected_to(addresses):
    with Server(says(answer())) as server:
        assert outcome_of(Names(addresses), f"http://name.example:{server.port}") == ("", "")


def test_name_without_an_allowed_address_is_blocked():
    assert outcome_of(Names(["169.254.169.254", "fe80::1"])) == ("blocked", "169.254.169.254")
    assert outcome_of(Names(["127.0.0.1"]), allow_private=False) == ("blocked", "127.0.0.1")


def test_next_address_is_tried_after_a_refusal():
    with Server(says(answer())) as server:
        names = Names(["127.0.0.2", "::1", "127.0.0.1"])
        assert outcome_of(names, f"http://name.example:{server.port}") == ("", "")


def test_unanswered_address_leaves_time_for_the_next():
    with socket.socket() as full, Server(says(answer())) as server:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        with socket.create_connection(("127.0.0.2", server.port)):  # fills the queue
            names = Names(["127.0.0.2", "127.0.0.1"])
            assert outcome_of(names, f"http://name.example:{server.port}") == ("", "")


def test_international_names_are_resolved_as_punycode():
    names = Names(["169.254.1.1"])
    outcome_of(names, "http://bücher.example")
    assert names.asked == ["xn--bcher-kva.example"]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (socket.gaierror(socket.EAI_NONAME, "in any language"), "EAI_NONAME"),
        (socket.gaierror(socket.EAI_AGAIN, ""), "EAI_AGAIN"),
        (TimeoutError(), "timeout"),
        (OSError(), "lookup"),
    ],
)
def test_failed_lookup_is_a_dns_error(error, detail):
    def fail(host, deadline):
        raise error

    assert outcome_of(fail) == ("dns", detail)


def test_name_without_an_address_is_a_dns_error():
    assert outcome_of(Names([])) == ("dns", "EAI_NODATA")


def test_hanging_lookup_ends_at_the_deadline():
    is_over = threading.Event()
    assert outcome_of(Lookups(lambda host: [str(is_over.wait(10))])) == ("dns", "timeout")
    is_over.set()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "lookup")


# --- The pool of lookups ---------------------------------------------------------------------------------------------


def soon() -> float:
    return time.monotonic() + 10


def test_ip_addresses_are_not_resolved():
    def fail(host):
        raise AssertionError

    assert Lookups(fail)("::1", soon()) == ["::1"]


def test_system_resolver_resolves_localhost():
    assert "127.0.0.1" in Lookups()("localhost", soon())


def test_simultaneous_lookups_of_one_host_are_merged():
    go = threading.Event()
    lookups = Lookups(lambda host: [str(go.wait(30))])
    first, second, other = (lookups.joined(host, soon()) for host in ("a.example", "a.example", "b.example"))
    assert first is second
    assert first is not other
    go.set()
    assert first.is_over.wait(10)
    assert lookups("a.example", soon()) == ["True"]
    assert lookups.joined("a.example", soon()) is not first


def test_every_merged_lookup_gets_the_error():
    def fail(host):
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    with pytest.raises(socket.gaierror) as caught:
        Lookups(fail)("a.example", soon())
    assert caught.value.args[0] == socket.EAI_AGAIN


def test_failing_lookup_keeps_its_thread_usable():
    def fail(host):
        raise UnicodeError

    lookups = Lookups(fail)
    for number in range(3):
        with pytest.raises(socket.gaierror):
            lookups(f"{number}.example", soon())
    assert lookups.quick.count == 1


def test_names_with_dead_servers_delay_no_others():
    is_over = threading.Event()

    def look_up(host):
        if host.startswith("dead"):
            is_over.wait(30)
        return ["127.0.0.1"]

    lookups = Lookups(look_up)
    lookups.slow_hosts.update(f"dead{number}.example" for number in range(2 * SLOW_THREADS))
    for host in lookups.slow_hosts.copy():
        lookups.joined(host, soon())
    assert lookups.slow.count == SLOW_THREADS
    assert lookups("well.example", soon()) == ["127.0.0.1"]
    is_over.set()


def test_late_lookup_marks_the_host_as_slow_until_one_is_in_time():
    go = threading.Event()
    lookups = Lookups(lambda host: [str(go.wait(30))])
    lookup = lookups.joined("a.example", soon())
    with pytest.raises(TimeoutError):
        lookups("a.example", time.monotonic())
    assert lookups.slow_hosts == {"a.example"}
    go.set()
    assert lookup.is_over.wait(10)
    assert lookups.slow_hosts == set()


def test_queued_lookup_does_not_mark_the_host_as_slow():
    go = threading.Event()
    lookups = Lookups(lambda host: [str(go.wait(30))])
    lookups.note_slow("a.example")
    lookup = lookups.joined("a.example", soon())
    lookup.wanted_until = time.monotonic()
    go.set()
    assert lookup.is_over.wait(10)
    assert lookups.slow_hosts == {"a.example"}


def test_lookup_that_never_started_times_out():
    lookups = Lookups(lambda host: ["127.0.0.1"])
    lookup = lookups.joined("a.example", time.monotonic() - 1)
    assert lookup.is_over.wait(10)
    lookups.running["a.example"] = lookup
    with pytest.raises(TimeoutError):
        lookups("a.example", soon())
    assert lookups.slow_hosts == set()  # it waited for others


def test_abandoned_lookup_is_not_made():
    asked: list[str] = []
    lookups = Lookups(lambda host: asked.append(host) or [])
    lookup = lookups.joined("a.example", time.monotonic() - 1)
    assert lookup.is_over.wait(10)
    assert asked == []


def test_forked_child_starts_its_own_lookup_threads():
    lookups = Lookups(lambda host: ["127.0.0.1"])
    lookups("a.example", soon())
    lookups.forget()
    assert lookups.quick.count == 0
    assert lookups("a.example", soon()) == ["127.0.0.1"]
