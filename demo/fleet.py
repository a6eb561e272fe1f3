"""A dozen machines, which use the portal over HTTP through the client package only."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vigie_client import (
    PortalError,
    TokenStore,
    UsageTelemetryClient,
    build_usage_payload,
    enroll,
    flush_spool,
    make_session,
    new_run_id,
    page_count_for,
    send_heartbeat,
    spool_payload,
    spool_stats,
    uninstall,
)

from demo.documents import make_broken_documents, make_documents

WINDOWS, MAC, LINUX = "Windows 11 23H2", "macOS 15.1", "Debian 12"
# One of the servers of `demo.backups`, which deposits by SFTP and was never enrolled.
SERVER = "agent_douala_prod_01"
MACHINES = [
    ("PC-LYON-07", "Alice Martin", WINDOWS),
    ("PC-LYON-08", "Bruno Petit", WINDOWS),
    ("PC-PARIS-01", "Chloé Durand", WINDOWS),
    ("PC-PARIS-02", "David Moreau", WINDOWS),
    ("MAC-NANTES-01", "Emma Laurent", MAC),
    ("PC-LILLE-03", "Farid Benali", WINDOWS),
    ("PC-DOUALA-01", "Grace Mbarga", WINDOWS),
    ("PC-DOUALA-02", "Hervé Nkoulou", WINDOWS),
    ("PC-YAOUNDE-05", "Inès Abena", WINDOWS),
    ("SRV-BATCH-01", "Service batch", LINUX),
    ("MAC-BREST-02", "Jules Le Goff", MAC),
    ("PC-NICE-04", "Karim Haddad", WINDOWS),
]


@dataclass
class Machine:
    """One machine with its state on disk."""

    machine_id: str
    user_name: str
    user_email: str
    os_info: str
    license_ref: str
    version: str
    url: str
    folder: Path
    rng: random.Random = field(repr=False)

    @property
    def store(self) -> TokenStore:
        return TokenStore(str(self.folder / "state"))

    @property
    def spool(self) -> str:
        return str(self.folder / "usage.jsonl")

    def enrol(self, token: str) -> str:
        """Enrol the machine. Return `enrolled`, `reactivated` or `replayed`."""
        done = enroll(
            self.url,
            token,
            self.machine_id,
            store=self.store,
            user_name=self.user_name,
            user_email=self.user_email,
            hostname=self.machine_id.lower(),
            os_info=self.os_info,
            version=self.version,
        )
        return done.status

    def ensure_enrolled(self, token: str) -> bool:
        """Send a heartbeat, after enrolling the machine if necessary. Return True if it was enrolled now."""
        if self.store.load() is not None:
            try:
                self.beat()
            except PortalError as error:
                if not error.permanent:
                    raise
            else:
                return False
        self.enrol(token)
        self.beat()
        return True

    def beat(self) -> None:
        send_heartbeat(self.url, make_session(self.store), version=self.version, os_info=self.os_info)

    def work(self, paths: list[Path], ago: timedelta = timedelta()) -> None:
        """Count the pages of the documents and spool the run, which started `ago` before now."""
        documents = []
        for path in paths:
            pages = page_count_for(path)
            status = "failed" if path.suffix == ".pdf" and pages is None else "success"
            duration = self.rng.randint(200, 4_000)
            documents.append({"page_count": pages, "status": status, "duration_ms": duration, "extension": path.suffix})
        payload = build_usage_payload(
            run_id=new_run_id(),
            app_name=self.rng.choice(["gui_v6", "batch"]),
            app_version=self.version,
            license_ref=self.license_ref,
            machine_id=self.machine_id,
            documents=documents,
            started_at=datetime.now(UTC) - ago,
        )
        spool_payload(self.spool, payload)

    def flush(self, url: str = "") -> int:
        return flush_spool(self.spool, UsageTelemetryClient(url or self.url, self.store))

    def flush_until_empty(self, seconds: float = 20) -> int:
        """Flush until nothing waits, as a running program does: flushes during a pause do nothing."""
        sent, deadline = 0, time.monotonic() + seconds
        while spool_stats(self.spool).pending and time.monotonic() < deadline:
            sent += self.flush()
            time.sleep(0.2)
        return sent


def machines(url: str, folder: Path, seed: int = 7) -> list[Machine]:
    return [
        Machine(
            machine_id=machine_id,
            user_name=user_name,
            user_email=f"{machine_id.lower()}@example.org",
            os_info=os_info,
            license_ref=f"LIC-{2040 + number % 4}",
            version=("6.0.3", "6.0.3", "6.1.0")[number % 3],
            url=url,
            folder=folder / machine_id,
            rng=random.Random(seed + number),  # noqa: S311 - a play, not a secret
        )
        for number, (machine_id, user_name, os_info) in enumerate(MACHINES)
    ]


def closed_address() -> str:
    """Return a URL where nothing listens, for a machine without a network."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def play(fleet: list[Machine], token: str, own_tokens: Mapping[str, str] | None = None) -> Iterator[str]:
    """Play the scenes and yield a line for each. A repetition on the same data goes on from there.

    `own_tokens` are enrolment tokens for one machine each: a machine with backups would otherwise need an approval.
    """
    enrolled = sum(machine.ensure_enrolled((own_tokens or {}).get(machine.machine_id, token)) for machine in fleet)
    yield f"{enrolled} machines enrolled, {len(fleet) - enrolled} were already"
    for machine in fleet:
        machine.work(make_documents(machine.folder / "documents", machine.rng, machine.rng.randint(2, 8)))
    sent = sum(machine.flush_until_empty() for machine in fleet)
    yield f"{len(fleet)} machines sent a heartbeat and {sent} runs with the pages of their documents"
    yield from process_broken_documents(fleet[0])
    yield from play_offline(fleet[1:4])
    yield from reinstall(fleet[-1], token)
    yield from try_taken_name(fleet[0], token)


def process_broken_documents(machine: Machine) -> Iterator[str]:
    paths = make_broken_documents(machine.folder / "broken")
    machine.work(paths)
    machine.flush_until_empty()
    counted = ", ".join(f"{path.stem}: {describe_pages(page_count_for(path))}" for path in paths)
    yield f"{machine.machine_id} processed broken PDFs without stopping ({counted})"


def describe_pages(count: int | None) -> str:
    return "page count unknown" if count is None else f"{count} pages"


def play_offline(some: list[Machine]) -> Iterator[str]:
    """Play weeks without a network. Each day's run is spooled, and counts for its day afterwards."""
    nowhere = closed_address()
    for machine in some:
        paths = make_documents(machine.folder / "documents", machine.rng, 4)
        for days in range(28, 0, -1):
            machine.work(paths[: machine.rng.randint(1, 4)], ago=timedelta(days=days))
        machine.flush(nowhere)
    waiting = sum(spool_stats(machine.spool).pending for machine in some)
    yield f"{len(some)} machines were offline; {waiting} runs wait in their spools"
    sent = sum(machine.flush_until_empty() for machine in some)
    yield f"the network is back: {sent} runs replayed, none lost"


def reinstall(machine: Machine, token: str) -> Iterator[str]:
    uninstall(machine.url, machine.store, reason="replaced by a new computer")
    status = machine.enrol(token)
    machine.beat()
    yield f"{machine.machine_id} was uninstalled and enrolled again: {status}"


def try_taken_name(machine: Machine, token: str) -> Iterator[str]:
    """Let a second computer enrol under a taken name, which the portal refuses."""
    if code := try_enrolment(machine, token, "twin", machine.machine_id):
        yield f"a second computer calling itself {machine.machine_id} was refused: {code}"


def try_server_name(machine: Machine, token: str) -> Iterator[str]:
    """Let a computer enrol as a server with expected backups, which needs an approval."""
    if code := try_enrolment(machine, token, "impostor", SERVER):
        yield f"a computer calling itself {SERVER} waits for approval by an operator: {code}"


def try_enrolment(machine: Machine, token: str, folder: str, machine_id: str) -> str:
    """Let another computer enrol under this name. Return the code of the refusal, empty if there was none."""
    try:
        replace(machine, machine_id=machine_id, folder=machine.folder.with_name(folder)).enrol(token)
    except PortalError as error:
        return str(error.code)
    return ""


def use_random_machine(fleet: list[Machine], rng: random.Random) -> None:
    """Let one machine send a heartbeat and a run."""
    machine = rng.choice(fleet)
    with contextlib.suppress(PortalError):  # the portal is being restarted, perhaps: the run below waits in its spool
        machine.beat()
    machine.work(make_documents(machine.folder / "documents", rng, rng.randint(1, 5)))
    machine.flush()
