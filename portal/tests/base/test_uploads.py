"""Size limits of forms and files, checked before the body is read."""

from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import TooManyFieldsSent
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from portal.base.uploads import MOST_ANONYMOUS_BYTES, MOST_FIELDS, parse_form
from portal.supervisor import incoming

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "Éric d’Aquitaine 😀",
        "a+b c&d=e%f",
        "\\x41 \\u0041 \\\\ \\n C:\\new",
        "one\r\ntwo\0",
        "".join(map(chr, range(256))),
    ],
)
def test_form_sent_by_a_browser_is_read(text):
    assert parse_form(urlencode({"comment": text, "id": "1"}).encode()) == {"comment": text, "id": "1"}


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (b"", {"": ""}),
        (b"a=1&a=2&b", {"a": "2", "b": ""}),
        (b"%61%5Fb=%41=%2b+", {"a_b": "A=+ "}),
        ("a=é".encode(), {"a": "é"}),
        (b"a=%C3", {"a": "\ufffd"}),
        (b"a=%zz%4", {"a": "zz"}),
    ],
)
def test_form_sent_by_other_clients_is_read(form, fields):
    assert parse_form(form) == fields


def test_form_with_too_many_fields_is_refused():
    assert len(parse_form(b"&".join(b"%d=" % number for number in range(MOST_FIELDS)))) == MOST_FIELDS
    with pytest.raises(TooManyFieldsSent):
        parse_form(b"&" * MOST_FIELDS)


class Unread:
    """A body that must not be read."""

    def read(self, *args):
        raise AssertionError("the body was read")

    readline = read


@pytest.fixture
def visitor():
    """Return an anonymous client with the CSRF cookie that any page with a form sets."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=True)
    client.get(reverse("admin:login"), follow=True)
    return client


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data; boundary=x"])
@pytest.mark.parametrize(
    "path", ["/admin/login/", "/i18n/setlang/", "/healthz", "/admin/backups/expectedbackupjob/import/"]
)
def test_large_anonymous_form_is_refused_unread(visitor, path, content_type):
    length = str(MOST_ANONYMOUS_BYTES + 1)
    answer = visitor.generic("POST", path, content_type=content_type, CONTENT_LENGTH=length, **{"wsgi.input": Unread()})
    assert answer.status_code == 400


def test_form_beyond_the_web_servers_limit_is_refused_unread(client):
    client.force_login(User.objects.create_user("alice"))
    length = str(incoming.FORM + 1)
    answer = client.generic(
        "POST", "/i18n/setlang/", content_type=FORM, CONTENT_LENGTH=length, **{"wsgi.input": Unread()}
    )
    assert answer.status_code == 400


def test_large_form_of_a_signed_in_user_is_read(client):
    client.force_login(User.objects.create_user("alice"))
    answer = client.post("/i18n/setlang/", {"language": "fr", "next": "x" * MOST_ANONYMOUS_BYTES})
    assert (answer.status_code, answer.cookies["django_language"].value) == (302, "fr")


def test_too_large_file_is_stored_for_no_view(client, monkeypatch):
    monkeypatch.setattr("portal.base.uploads.MOST_BYTES", 1_000)
    client.force_login(User.objects.create_user("alice"))
    files = {name: SimpleUploadedFile(name, b"x" * size) for name, size in (("small", 1_000), ("large", 1_001))}
    answer = client.post("/i18n/setlang/", {"language": "fr", **files})
    assert answer.status_code == 302
    assert list(answer.wsgi_request.FILES) == ["small"]
