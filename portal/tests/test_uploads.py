"""Forms and files are bounded before they are read."""

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from portal.uploads import MOST_ANONYMOUS_BYTES

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"


class Unread:
    """A body that must not be read."""

    def read(self, *args):
        raise AssertionError("the body was read")

    readline = read


@pytest.fixture
def visitor():
    """Somebody whose browser has a CSRF cookie, as everybody has who looked at a form."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=True)
    client.get(reverse("admin:login"), follow=True)
    return client


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data; boundary=x"])
@pytest.mark.parametrize(
    "path", ["/admin/login/", "/i18n/setlang/", "/healthz", "/admin/backups/expectedbackupjob/import/"]
)
def test_large_form_of_somebody_who_is_not_signed_in_is_refused_unread(visitor, path, content_type):
    length = str(MOST_ANONYMOUS_BYTES + 1)
    answer = visitor.generic("POST", path, content_type=content_type, CONTENT_LENGTH=length, **{"wsgi.input": Unread()})
    assert answer.status_code == 400


def test_large_form_of_somebody_who_is_signed_in_is_read(client):
    client.force_login(User.objects.create_user("alice"))
    answer = client.post("/i18n/setlang/", {"language": "fr", "next": "x" * MOST_ANONYMOUS_BYTES})
    assert (answer.status_code, answer.cookies["django_language"].value) == (302, "fr")


def test_file_too_large_is_stored_for_no_view(client, monkeypatch):
    monkeypatch.setattr("portal.uploads.MOST_BYTES", 1_000)
    client.force_login(User.objects.create_user("alice"))
    files = {name: SimpleUploadedFile(name, b"x" * size) for name, size in (("small", 1_000), ("large", 1_001))}
    answer = client.post("/i18n/setlang/", {"language": "fr", **files})
    assert answer.status_code == 302
    assert list(answer.wsgi_request.FILES) == ["small"]
