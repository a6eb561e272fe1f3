"""Routes are stored without the values of their parameters."""

import pytest

from usage.models import FeatureUsage, UserError
from usage.tests.payloads import error_event, feature_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored(call, client_token):
    """Return a function that sends an endpoint and returns the stored one, or the status if there is none."""

    def telling(endpoint):
        lists = {"features": [feature_event(endpoint=endpoint)], "errors": [error_event(endpoint=endpoint)]}
        results = call("POST", "usage/events", client_token, body=lists).json()["results"]
        (status,) = {results[name][0]["status"] for name in lists}
        if status != "recorded":
            assert not FeatureUsage.objects.exists()
            return status
        assert FeatureUsage.objects.get().endpoint == UserError.objects.get().endpoint
        return FeatureUsage.objects.get().endpoint

    return telling


@pytest.mark.parametrize(
    "route",
    ["/api/documents/upload", "/api/v1/users/{id}/files", "/users/:id", "/users/<int:pk>/", "documents.upload", "main/export", "/", "", "/a~b_c-d",
     "/oauth2/callback", "/checks/sha256", "/two-factor-authentication-settings", "/internationalization", "/a" * 100,
     "/api/v1/documents/upload", "/api/DocumentsList", "/admin/usage/run/", "/api/getUserProfileById", "/exportPDF", "/CUSTOMERS/x", "/users/<str:x>",
     "/files/{name}.pdf", "/users/:id.json", "/users/{user_identifier2}", "admin:usage_run_changelist", "/.well-known/x", "main.export_all"],
)  # fmt: skip
def test_route_is_stored_unchanged(stored, route):
    assert stored(route) == route


@pytest.mark.parametrize(
    ("address", "route"),
    [
        ("/api/documents?name=secret.pdf", "/api/documents"),
        ("/api/documents#secret.pdf", "/api/documents"),
        ("/api/documents?é=\\ #?", "/api/documents"),
        ("?secret", ""),
        ("/users/7", "/users/{id}"),
        ("/users/8291/files/3/", "/users/{id}/files/{id}/"),
        ("/days/2026-03-10", "/days/{id}"),
        ("/points/45.76:4.83", "/points/{id}"),
        ("/invoices/INV-2041", "/invoices/{id}"),
        ("/files/0f8fad5b-d9cb-469f-a165-70867728950e", "/files/{id}"),
        ("/files/ABCDEFAB-abcd-abcd-abcd-abcdefabcdef/x", "/files/{id}/x"),
        ("/files/file-0f8fad5b-d9cb-469f-a165-70867728950e", "/files/{id}"),
        ("/files/deadbeefdeadbeef", "/files/{id}"),
        ("/reset/aZ9kQ2mXw8LpR4tBv", "/reset/{id}"),
        ("/reset/abcdefghijklmno1", "/reset/{id}"),
        ("/home/bob/secret.pdf", "/home/bob/{id}"),
        ("/export/data.csv/rows", "/export/{id}/rows"),
        ("secret.docx", "{id}"),
        ("/users/jean.dupont/edit", "/users/{id}/edit"),
        ("/users/{jean.dupont}/edit", "/users/{id}/edit"),
        ("/u/bob:secretpw/x", "/u/{id}/x"),
        ("/u/:bob:secretpw", "/u/{id}"),
        ("/reset/kqjhsdfkjhqsdkfjhqskdjfh", "/reset/{id}"),
        ("/reset/KQJHSDFKJHQSDKFJHQSKDJFH", "/reset/{id}"),
        ("/reset/abcDEFghiJKLmnop", "/reset/{id}"),
        ("/reset/abcDEFgh", "/reset/{id}"),
        ("/invite/ABC123def456", "/invite/{id}"),
        ("/invite/abc-12de", "/invite/{id}"),
        ("/invite/{8291}", "/invite/{id}"),
        ("/" + "1" * 200, ""),
    ],
)
def test_values_in_route_are_masked(stored, address, route):
    assert stored(address) == route


@pytest.mark.parametrize(
    "address",
    ["/a b", "/é", "/a\\b", "C:\\Users\\bob", "C:/Users/bob", "file:///secret", "https://bob:pw@example.org/", "https://example.org/", "/a%2Fsecret",
     "/bob@example.org", "/a\n", "/\x00", "/x/vigie_client_ABCDEFGHIJKL_secret", 7, True, [], {}],
)  # fmt: skip
def test_endpoint_other_than_route_is_invalid(stored, address):
    assert stored(address) == "invalid"


@pytest.mark.parametrize(("parts", "expected"), [(40, "/{id}" * 40), (41, ""), (101, "")])
def test_too_long_route_is_left_out(stored, parts, expected):
    assert stored("/1" * parts) == expected
