"""Routes are stored without the values of their parameters. `client/tests/test_wire_rules.py` has the rule's cases."""

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


@pytest.mark.parametrize("route", ["/api/v1/users/{id}/files", "documents.upload", ""])
def test_route_is_stored_unchanged(stored, route):
    assert stored(route) == route


@pytest.mark.parametrize(
    ("address", "route"),
    [("/api/documents?name=secret.pdf", "/api/documents"), ("/users/8291/files/3/", "/users/{id}/files/{id}/")],
)
def test_values_in_route_are_masked(stored, address, route):
    assert stored(address) == route


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "address", ["/a b", "https://bob:pw@example.org/", "/x/vigie_client_ABCDEFGHIJKL_secret", 7, True, [], {}]
)
def test_endpoint_other_than_route_is_invalid(stored, address):
    assert stored(address) == "invalid"


def test_too_long_route_is_left_out(stored):
    assert stored("/1" * 41) == ""
