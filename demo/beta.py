"""A beta programme that has run for three weeks: what its participants said, what became of it, and the verdict.

Its moments are those of the past, so that the page has a story: too little was known, then much went wrong, and then
most of it was mended.
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

from demo.commands import manage, within
from demo.fleet import Machine
from demo.forms import form_with
from demo.services import SHOWN, SLOWS, NotLetIn, Operator
from demo.voices import FIRST, FORM, HANGS, LOST, LOST_AGAIN, MACHINE, NEW, SECOND, TAB, THIRD, WRONG, Voice

NAME, PRODUCT = "spring-beta", "Page Counter 6.1"
DAYS, LEFT = 21, 7
TESTED = (SHOWN, SLOWS, "Shop")
WEBSITE = "https://counter.example.org"
FORMATS = ("json", "txt", "csv", "xlsx", "pdf")
# How many days ago the verdict was another one, after what had been said until then.
FIRST_VERDICT, SECOND_VERDICT = 17.0, 10.0
PROGRAMME = re.compile(r"/admin/beta/betaprogramme/(\d+)/change/")
FEEDBACK = re.compile(r"/admin/beta/betafeedback/(\d+)/change/")
PAGE = re.compile(r"/feedback/([0-9A-Za-z]{22})")

# What was said came when it was said, and a report of the past holds what had been checked by then.
WRITER = """
import json, sys
from datetime import datetime, timedelta
from beta.report import snapshots
from beta.report.gather import report_of
from monitoring.models import BetaProgramme, BetaSnapshot

said = json.load(sys.stdin)
programme = BetaProgramme.objects.get(name=said["programme"])
for number, given_at in said["given"].items():
    programme.feedback.filter(feedback_id=number).update(given_at=given_at, received_at=given_at)
moment = said["moment"] and datetime.fromisoformat(said["moment"])
# A play that was broken off has kept it, maybe.
near = (moment - timedelta(days=2), moment + timedelta(days=2)) if moment else None
if moment and not programme.snapshots.filter(taken_at__range=near).exists():
    ends = programme.ends
    programme.ends = moment.date()
    report = report_of(programme, moment) | {"ends": ends and ends.isoformat()}
    programme.ends = ends
    snapshots.write(programme, report, moment, BetaSnapshot.Reason.VERDICT)
"""


@dataclass
class Beta:
    """Where it is to be seen, once it was played."""

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
            yield f"  {self.page}    whether the beta may go, and why: {self.verdict}"
            yield f"  {self.form}    where its participants say what they think"


# --- The ways --------------------------------------------------------------------------------------------------------


@dataclass
class Ways:
    """By which what was said reaches the portal: an application's token, those of machines, or the public key."""

    url: str
    key: str
    application: requests.Session
    machines: Sequence[Machine]
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def tell(self, voices: Sequence[Voice], **more: object) -> list[int]:
        """What the portal answered to each. Said again, it is known by its id."""
        return [self.send(voice, said_by(voice, self.now) | more) for voice in voices]

    def send(self, voice: Voice, said: dict[str, object]) -> int:
        address = f"{self.url}/api/v1/beta/feedback"
        if voice.way == FORM:
            headers = {"Origin": WEBSITE}
            return requests.post(f"{address}?key={self.key}", json=said, headers=headers, timeout=10).status_code
        said = said | {"programme": NAME}
        if voice.way == MACHINE and (token := self.token_of(voice)):
            with make_session(token) as session:
                return session.post(address, json=said, timeout=10).status_code
        return self.application.post(address, json=said, timeout=10).status_code

    def token_of(self, voice: Voice) -> str:
        """Each at the same machine every time; nothing where that is not enrolled."""
        credentials = self.machines[sum(map(ord, voice.who)) % len(self.machines)].store.load()
        return credentials.api_token if credentials else ""


def said_by(voice: Voice, now: datetime) -> dict[str, object]:
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{voice.who}/{voice.ago}")
    return {"id": number.hex, "given_at": (now - timedelta(days=voice.ago)).isoformat(), **voice.fields()}


def said_on_the_page(url: str, key: str) -> bool:
    """As somebody with a browser does who reads French. Whether the portal said thanks."""
    address, person = f"{url}/feedback/{key}?lang=fr", {"participant": "Yves Morel", "app_version": NEW}
    said = {"type": "ux", "comment": "La page pour donner son avis est très simple 😊", "nps_score": "9"}
    with requests.Session() as browser:
        form = form_with(browser.get(address, timeout=30).text, "comment")
        answer = browser.post(address, data=form | said | person, timeout=30)
    return answer.ok and "thanks=1" in answer.url


def said_by_the_package(url: str, session: requests.Session, spool: Path) -> int:
    """How much was delivered of what a program had its user say just now."""
    feedback = FeedbackClient(url, session, spool_path=spool, programme=NAME, app_version=NEW, deliver_after=60)
    feedback.send("alice.martin@example.org", type="ux", comment="The tray icon could say how many pages it counted.")
    feedback.send("karim.haddad@example.org", nps_score=9, comment="Still fast after a month of documents.")
    return feedback.flush(force=True)


# --- What operators do -----------------------------------------------------------------------------------------------


def begin(operator: Operator, now: datetime) -> None:
    """The programme. One that is there stays as it is."""
    if number_of(operator):
        return
    today = now.date()
    fields = {"name": NAME, "product": PRODUCT, "allowed_origins": WEBSITE, "takes_public": "on"}
    days = {"starts": today - timedelta(days=DAYS), "ends": today + timedelta(days=LEFT)}
    operator.change("/admin/beta/betaprogramme/add/", **fields, **days)


def judge_services(operator: Operator, api: requests.Session, number: str) -> None:
    """With the programme."""
    answer = api.get(f"{operator.url}/api/v1/monitoring/targets", timeout=10)
    for target in answer.json()["results"]:
        if target["name"] in TESTED:
            operator.change(f"/admin/monitoring/target/{target['id']}/change/", beta_programme=number)


def number_of(operator: Operator) -> str:
    found = PROGRAMME.search(operator.read("/admin/beta/betaprogramme/", q=NAME))
    return found[1] if found else ""


def triage(operator: Operator, text: str, **what: object) -> None:
    """Of the newest feedback in whose comment the text stands."""
    found = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=text))
    if found:
        fields = {"action": "triage", "confirmed": 1, "_selected_action": found[1], **what}
        operator.submit("/admin/beta/betafeedback/", **fields)


def settle(operator: Operator) -> None:
    """What was said is judged; all but one of what is grave is mended."""
    lost = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=LOST))
    triage(operator, LOST, status="fixed", fix_version=NEW, add_tags="counting, sleep")
    triage(operator, LOST_AGAIN, duplicate_of=lost[1] if lost else "")
    triage(operator, WRONG, status="fixed", fix_version=NEW, add_tags="counting")
    triage(operator, "dark mode", status="planned", add_tags="appearance")
    triage(operator, "on paper every night", status="declined")
    mine = FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=TAB))
    if mine:
        operator.submit("/admin/beta/betafeedback/", action="assign_to_me", _selected_action=mine[1])


# --- The play --------------------------------------------------------------------------------------------------------


def play(
    beta: Beta, fleet: Sequence[Machine], application: requests.Session, api: requests.Session, password: str
) -> Iterator[str]:
    """The play, a line per scene. Played again, the past stays as it was."""
    try:
        operator = Operator(beta.url, password)
    except NotLetIn:
        yield "the operator's password is another one by now, so nobody began a beta programme"
        return
    now = datetime.now(UTC)
    begin(operator, now)
    beta.number = number_of(operator)
    beta.key = PAGE.findall(operator.read(f"/admin/beta/betaprogramme/{beta.number}/change/"))[0]
    ways = Ways(beta.url, beta.key, application, fleet, now)
    if not is_over(operator):
        judge_services(operator, api, beta.number)
        yield from three_weeks(ways)
        yield from today(beta, ways)
        settle(operator)
        yield from last_bug(beta, operator, api)
    beta.verdict = report(beta, api)["verdict"]
    yield handed_on(beta.data)


def is_over(operator: Operator) -> bool:
    """Whether the last scene was played: what was broken off before is played again from its beginning."""
    return FEEDBACK.search(operator.read("/admin/beta/betafeedback/", q=HANGS, status="fixed")) is not None


def three_weeks(ways: Ways) -> Iterator[str]:
    said = ways.tell(FIRST)
    remember(FIRST, ways.now, FIRST_VERDICT)
    said += ways.tell(SECOND)
    remember(SECOND, ways.now, SECOND_VERDICT)
    said += ways.tell(THIRD)
    remember(THIRD, ways.now)
    people = len({voice.who for voice in FIRST + SECOND + THIRD})
    yield f"{people} participants of {NAME} said {said.count(201)} things in {DAYS} days, in three languages"


def remember(voices: Sequence[Voice], now: datetime, ago: float | None = None) -> None:
    """What they said came when it was said; of the moment `ago` days before now a report is kept."""
    given = {said["id"]: said["given_at"] for said in (said_by(voice, now) for voice in voices)}
    within(WRITER, {"programme": NAME, "given": given, "moment": ago and now - timedelta(days=ago)})


def today(beta: Beta, ways: Ways) -> Iterator[str]:
    again = ways.tell(SECOND[:1])
    yield f"what was sent again was known: {'yes' if again == [200] else again}"
    robot = Voice(0, "robot", "other", "Buy our pills!", way=FORM)
    ways.tell([robot], website="https://pills.example.org")
    yield "a robot filled in the field that no person sees: it was thanked, and nothing was kept"
    count = said_by_the_package(beta.url, ways.application, beta.data / "feedback.jsonl")
    yield f"a program with the client package told {count} things that its users said"
    thanks = "and was thanked" if said_on_the_page(beta.url, beta.key) else "but was not thanked"
    yield f"somebody without it filled in {beta.form}, {thanks}"


def last_bug(beta: Beta, operator: Operator, api: requests.Session) -> Iterator[str]:
    yield f"the report said {in_short(report(beta, api))}"
    triage(operator, HANGS, status="fixed", fix_version=NEW, add_tags="export")
    yield f"the operator marked the last grave bug as fixed, and now it says {in_short(report(beta, api))}"


def in_short(said: dict[str, Any]) -> str:
    missed = [condition["name"] for condition in said["conditions"] if not condition["ok"]]
    return f"{said['verdict']} for {', '.join(missed)}" if missed else f"{said['verdict']}"


def report(beta: Beta, api: requests.Session) -> dict[str, Any]:
    answer = api.get(f"{beta.url}/api/v1/beta/report", params={"programme": NAME}, timeout=30)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def handed_on(data: Path) -> str:
    """As somebody at the console makes it."""
    folder = data / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    for form in FORMATS:
        output = str(folder / f"{NAME}.{form}")
        manage("beta_report", "--programme", NAME, "--format", form, "--output", output, capture=True)
    return f"the report is in {folder}/{NAME}.{{{','.join(FORMATS)}}}"
