"""A beta programme of three weeks: the feedback of its participants, the triage, and the verdict.

Its times are in the past, so that the page shows a history: too little data, then many bugs, then most of them fixed.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from vigie_client import FeedbackClient, make_session

from demo.commands import manage, run_in_portal
from demo.fleet import Machine
from demo.forms import read_form
from demo.services import SLOW, WITH_BADGE, LoginFailed, Operator
from demo.voices import FIRST, FORM, HANGS, LOST, LOST_AGAIN, MACHINE, NEW, SECOND, TAB, THIRD, WRONG, Voice

NAME, PRODUCT = "spring-beta", "Page Counter 6.1"
DAYS, LEFT = 21, 7
TESTED = (WITH_BADGE, SLOW, "Shop")
WEBSITE = "https://counter.example.org"
FORMATS = ("json", "txt", "csv", "xlsx", "pdf")
# Days before now of the earlier verdicts, which count the feedback until then.
FIRST_VERDICT, SECOND_VERDICT = 17.0, 10.0
PROGRAMME = re.compile(r"/admin/beta/betaprogramme/(\d+)/change/")
FEEDBACK = re.compile(r"/admin/beta/betafeedback/(\d+)/change/")
PAGE = re.compile(r"/feedback/([0-9A-Za-z]{22})")


@dataclass
class Beta:
    """The programme, its pages and its verdict."""

    url: str
    data: Path
    number: str = ""
    key: str = ""
    verdict: str = ""

    @property
    def page(self) -> str:
        return f"{self.url}/admin/beta/betaprogramme/{self.number}/change/"

    @property
    def form(self) -> str:
        return f"{self.url}/feedback/{self.key}"

    def where_to_look(self) -> Iterator[str]:
        if self.number:
            yield f"  {self.page}    the beta programme and its verdict: {self.verdict}"
            yield f"  {self.form}    its public feedback page"


# --- Sending feedback ------------------------------------------------------------------------------------------------


@dataclass
class FeedbackSender:
    """Sends feedback by an application's token, by those of machines, or by the public key."""

    url: str
    key: str
    application: requests.Session
    machines: Sequence[Machine]
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def send_all(self, voices: Sequence[Voice], **more: object) -> list[int]:
        """Send the feedback and return the status of each answer. A repetition is recognized by its id."""
        return [self.send(voice, feedback_fields(voice, self.now) | more) for voice in voices]

    def send(self, voice: Voice, body: dict[str, object]) -> int:
        address = f"{self.url}/api/v1/beta/feedback"
        if voice.way == FORM:
            headers = {"Origin": WEBSITE}
            return requests.post(f"{address}?key={self.key}", json=body, headers=headers, timeout=10).status_code
        body = body | {"programme": NAME}
        if voice.way == MACHINE and (token := self.machine_token(voice)):
            with make_session(token) as session:
                return session.post(address, json=body, timeout=10).status_code
        return self.application.post(address, json=body, timeout=10).status_code

    def machine_token(self, voice: Voice) -> str:
        """Return the token of a machine that is always the same for one participant; empty if it is not enrolled."""
        credentials = self.machines[sum(map(ord, voice.who)) % len(self.machines)].store.load()
        return credentials.api_token if credentials else ""


def feedback_fields(voice: Voice, now: datetime) -> dict[str, object]:
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{voice.who}/{voice.ago}")
    return {"id": number.hex, "given_at": (now - timedelta(days=voice.ago)).isoformat(), **voice.fields()}


def send_by_page(url: str, key: str) -> bool:
    """Send feedback by the page with a French browser. Return True if the portal thanked."""
    address, person = f"{url}/feedback/{key}?lang=fr", {"participant": "Yves Morel", "app_version": NEW}
    opinion = {"type": "ux", "comment": "La page pour donner son avis est très simple 😊", "nps_score": "9"}
    with requests.Session() as browser:
        form = read_form(browser.get(address, timeout=30).text, "comment")
        answer = browser.post(address, data=form | opinion | person, timeout=30)
    return answer.ok and "thanks=1" in answer.url


def send_by_package(url: str, session: requests.Session, spool: Path) -> int:
    """Send feedback by the client package. Return the number delivered."""
    feedback = FeedbackClient(url, session, spool_path=spool, programme=NAME, app_version=NEW, deliver_after=60)
    feedback.send("alice.martin@example.org", type="ux", comment="The tray icon could say how many pages it counted.")
    feedback.send("karim.haddad@example.org", nps_score=9, comment="Still fast after a month of documents.")
    return feedback.flush(force=True)


# --- Triage by operators ---------------------------------------------------------------------------------------------


def create_programme(operator: Operator, now: datetime) -> None:
    """Create the programme unless it exists."""
    if find_programme(operator):
        return
    today = now.date()
    fields = {"name": NAME, "product": PRODUCT, "allowed_origins": WEBSITE, "takes_public": "on"}
    days = {"starts": today - timedelta(days=DAYS), "ends": today + timedelta(days=LEFT)}
    operator.change("/admin/beta/betaprogramme/add/", **fields, **days)


def add_targets(operator: Operator, api: requests.Session, number: str) -> None:
    """Add the tested targets to the programme."""
    answer = api.get(f"{operator.url}/api/v1/monitoring/targets", timeout=10)
    for target in answer.json()["results"]:
        if target["name"] in TESTED:
            operator.change(f"/admin/monitoring/target/{target['id']}/change/", beta_programme=number)


def find_programme(operator: Operator) -> str:
    match = PROGRAMME.search(operator.read("/admin/beta/betaprogramme/", q=NAME))
    return match[1] if match else ""


def triage(operator: Operator, text: str, **what: object) -> None:
    """Triage the newest feedback whose comment contains the text."""
    match = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=text))
    if match:
        fields = {"action": "triage", "confirmed": 1, "_selected_action": match[1], **what}
        operator.submit("/admin/beta/betafeedback/", **fields)


def triage_feedback(operator: Operator) -> None:
    """Triage the feedback, and mark all grave bugs but one as fixed."""
    lost = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=LOST))
    triage(operator, LOST, status="fixed", fix_version=NEW, add_tags="counting, sleep")
    triage(operator, LOST_AGAIN, duplicate_of=lost[1] if lost else "")
    triage(operator, WRONG, status="fixed", fix_version=NEW, add_tags="counting")
    triage(operator, "dark mode", status="planned", add_tags="appearance")
    triage(operator, "on paper every night", status="declined")
    mine = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=TAB))
    if mine:
        operator.submit("/admin/beta/betafeedback/", action="assign_to_me", _selected_action=mine[1])


# --- Scenes ----------------------------------------------------------------------------------------------------------


def play(
    beta: Beta, fleet: Sequence[Machine], application: requests.Session, api: requests.Session, password: str
) -> Iterator[str]:
    """Play the scenes and yield a line for each. A repetition leaves the past unchanged."""
    try:
        operator = Operator(beta.url, password)
    except LoginFailed:
        yield "the operator's password was changed, so no beta programme was created"
        return
    now = datetime.now(UTC)
    create_programme(operator, now)
    beta.number = find_programme(operator)
    beta.key = PAGE.findall(operator.read(f"/admin/beta/betaprogramme/{beta.number}/change/"))[0]
    sender = FeedbackSender(beta.url, beta.key, application, fleet, now)
    if not is_over(operator):
        add_targets(operator, api, beta.number)
        yield from play_three_weeks(sender)
        yield from play_today(beta, sender)
        triage_feedback(operator)
        yield from fix_last_bug(beta, operator, api)
    beta.verdict = fetch_report(beta, api)["verdict"]
    yield export_report(beta.data)


def is_over(operator: Operator) -> bool:
    """Return True if the last scene was played. An interrupted run is repeated from the beginning."""
    return FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=HANGS, status="fixed")) is not None


def play_three_weeks(sender: FeedbackSender) -> Iterator[str]:
    statuses = sender.send_all(FIRST)
    backdate(FIRST, sender.now, FIRST_VERDICT)
    statuses += sender.send_all(SECOND)
    backdate(SECOND, sender.now, SECOND_VERDICT)
    statuses += sender.send_all(THIRD)
    backdate(THIRD, sender.now)
    people = len({voice.who for voice in FIRST + SECOND + THIRD})
    yield f"{people} participants of {NAME} sent feedback {statuses.count(201)} times in {DAYS} days, in 3 languages"


def backdate(voices: Sequence[Voice], now: datetime, ago: float | None = None) -> None:
    """Set the times of the feedback to the past, and keep a report of the time `ago` days before now."""
    given_at = {sent["id"]: sent["given_at"] for sent in (feedback_fields(voice, now) for voice in voices)}
    run_in_portal("feedback_times", {"programme": NAME, "given": given_at, "moment": ago and now - timedelta(days=ago)})


def play_today(beta: Beta, sender: FeedbackSender) -> Iterator[str]:
    again = sender.send_all(SECOND[:1])
    yield f"feedback that was sent twice was stored once: {'yes' if again == [200] else again}"
    robot = Voice(0, "robot", "other", "Buy our pills!", way=FORM)
    sender.send_all([robot], website="https://pills.example.org")
    yield "a robot filled in the hidden field: it was thanked, and nothing was stored"
    count = send_by_package(beta.url, sender.application, beta.data / "feedback.jsonl")
    yield f"a program sent {count} pieces of feedback by the client package"
    thanks = "and was thanked" if send_by_page(beta.url, beta.key) else "but was not thanked"
    yield f"a participant filled in {beta.form} {thanks}"


def fix_last_bug(beta: Beta, operator: Operator, api: requests.Session) -> Iterator[str]:
    yield f"the report says {summarize_report(fetch_report(beta, api))}"
    triage(operator, HANGS, status="fixed", fix_version=NEW, add_tags="export")
    summary = summarize_report(fetch_report(beta, api))
    yield f"the operator marked the last critical bug as fixed; the report now says {summary}"


def summarize_report(report: dict[str, Any]) -> str:
    missed = [condition["name"] for condition in report["conditions"] if not condition["ok"]]
    return f"{report['verdict']} for {', '.join(missed)}" if missed else f"{report['verdict']}"


def fetch_report(beta: Beta, api: requests.Session) -> dict[str, Any]:
    answer = api.get(f"{beta.url}/api/v1/beta/report", params={"programme": NAME}, timeout=30)
    answer.raise_for_status()
    return dict(answer.json())


def export_report(data: Path) -> str:
    """Write the report in every format with the command."""
    folder = data / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    for form in FORMATS:
        output = str(folder / f"{NAME}.{form}")
        manage("beta_report", "--programme", NAME, "--format", form, "--output", output, capture=True)
    return f"the report is in {folder}/{NAME}.{{{','.join(FORMATS)}}}"
