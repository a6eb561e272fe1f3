"""Finding names in texts: only whole names, never a part of another name."""

import re

import pytest
from django.contrib.auth.models import User
from vigie_client.contract import MACHINE_ID

from agents.models import Agent
from portal.privacy import subjects
from portal.privacy.subjects import InvalidSubject, Subject, parse_subject

BOB = Subject(("bob@example.org",))
BOB_BY_NAME = Subject(("bob",))
MACHINE = Subject(("PC-1",), is_machine=True, bears=True)


@pytest.mark.parametrize(
    "text",
    ["bob@example.org", "BOB@Example.ORG", "<bob@example.org>", "mail to bob@example.org.", "client:bob@example.org",
     "550 'bob@example.org': no such user", "to=bob@example.org&x", "a@example.org,bob@example.org", "(bob@example.org)",
     "bob@example.org: refused", "user:Bob@example.org", "https://x/bob@example.org/y"],
)  # fmt: skip
def test_address_is_found_as_a_whole_word(text):
    assert BOB.replaced(text, "erased-1") == re.sub(r"(?i)bob@example\.org", "erased-1", text)


@pytest.mark.parametrize(
    "text",
    ["bobby@example.org", "rob.bob@example.org", "bob@example.org.uk", "bob@example.organic", "x-bob@example.org",
     "bob@example.org-mail.com", "bob+list@example.org", "jim+bob@example.org", "bob@sub.example.org", "o'bob@example.org",
     "o\u2019bob@example.org",
     "bob", "example.org", "bob@exampleXorg"],
)  # fmt: skip
def test_part_of_another_address_is_not_replaced(text):
    assert BOB.replaced(text, "erased-1") == text
    assert not BOB.is_named(text)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [("PC-1", "X"), ("agent:PC-1", "agent:X"), ("backup:PC-1/stock", "backup:X/stock"), ("Backup of PC-1: late", "Backup of X: late"),
     ("PC-1.", "X."), ("agent:pc-1", "agent:X"), ("on Pc-1, PC-2", "on X, PC-2"), ("on PC-1, PC-2", "on X, PC-2"), ("expectedbackupjob:PC-1 stock", "expectedbackupjob:X stock")],
)  # fmt: skip
def test_machine_is_found_with_and_without_its_prefix(text, replaced):
    assert MACHINE.replaced(text, "X") == replaced


@pytest.mark.parametrize("text", ["PC-10", "PC-1-B", "PC-1.lan", "PC-1:2", "XPC-1", "my:PC-1", "A.PC-1", "PC_1"])
def test_other_machine_is_not_replaced(text):
    assert MACHINE.replaced(text, "X") == text
    assert not MACHINE.is_named(text)


def test_html_escaped_apostrophe_is_found():
    subject = Subject(("o'brien@example.org",))
    assert subject.replaced("<td>O&#x27;Brien@example.org</td>", "X") == "<td>X</td>"
    assert subject.replaced("o'brien@example.org", "X") == "X"


def test_user_name_that_is_a_common_word_is_found_only_as_a_name():
    assert BOB_BY_NAME.replaced("bob, user:bob, user:bobby", "X") == "bob, user:X, user:bobby"
    assert BOB_BY_NAME.replaced("ask bob, or bob@example.org", "X", as_word=True) == "ask X, or bob@example.org"
    assert BOB_BY_NAME.renamed("bob", "X") == "X"
    assert BOB_BY_NAME.renamed("bob the builder", "X") == "bob the builder"


def test_nested_json_is_replaced_and_keeps_its_shape():
    data = {"users": [{"email": "Bob@example.org", "n": 1}, {"email": "amy@example.org"}], "bob@example.org": None}
    replaced = {"users": [{"email": "X", "n": 1}, {"email": "amy@example.org"}], "X": None}
    assert BOB.replaced(data, "X") == replaced
    assert BOB.replaced(("bob@example.org", 3, True), "X") == ("X", 3, True)


def test_display_name_beside_an_address_is_replaced_too():
    mine = {"user_email": "bob@example.org", "user_name": "Bob Roy", "hostname": "PC-BOB", "version": "1.2"}
    assert BOB.replaced(mine, "X") == {"user_email": "X", "user_name": "", "hostname": "", "version": "1.2"}
    others = {"user_email": "amy@example.org", "user_name": "Amy"}
    assert BOB.replaced(others, "X") == others


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "names", "is_machine"),
    [("  bob@example.org ", ("bob@example.org",), False), ("user:bob", ("bob",), False), ("PC-1", ("PC-1",), True),
     ("agent:PC-1", ("PC-1",), True), ("agent_douala_prod_01", ("agent_douala_prod_01",), True), ("José@exämple.org", ("José@exämple.org",), False)],
)  # fmt: skip
def test_typed_subject_is_a_person_or_a_machine(typed, names, is_machine):
    subject = parse_subject(typed)
    assert (subject.names, subject.is_machine) == (names, is_machine)


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.django_db
@pytest.mark.parametrize(
    "typed", ["", " ", "@", "bob@", "@example.org", "a b", "bob@example org", "-x", "a" * 129, "x@y@z", "user:", "bob@example.org,amy@example.org", "a\nb", "%", "b" * 65 + "@x.org"]
)  # fmt: skip
def test_invalid_subject_is_refused_with_a_message(typed):
    with pytest.raises(InvalidSubject, match="is expected"):
        parse_subject(typed)


@pytest.mark.django_db
def test_names_of_a_person_include_their_accounts():
    User.objects.create_user("bobroy", "BOB@example.org")
    User.objects.create_user("bob@example.org")
    User.objects.create_user("bobby", "bobby@example.org")
    assert set(parse_subject("bob@example.org").names) == {"bob@example.org", "bobroy"}
    assert set(parse_subject("user:bobroy").names) == {"bobroy", "BOB@example.org"}


@pytest.mark.django_db
def test_spellings_of_an_address_are_looked_up_by_index(make_agent):
    for number, email in enumerate(["bob@example.org", "Bob@Example.org", "bOB@EXAMPLE.ORG", "bobby@example.org"]):
        make_agent(f"PC-{number}", user_email=email)
    found = BOB.written_as(Agent.objects.all(), "user_email")
    assert set(found) == {"bob@example.org", "Bob@Example.org", "bOB@EXAMPLE.ORG"}


def test_machine_name_has_the_form_of_a_machine_id():
    assert subjects.MACHINE.pattern == MACHINE_ID
