"""Names of features in digests."""

import pytest

from usage.guardian import wording
from usage.guardian.features import feature_title, is_portal_page


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("admin:index", "Overview"),
        ("admin:usage_licence_changelist", "Licences"),
        ("admin:usage_licence_change", "Licences: detail page"),
        ("admin:usage_dashboard", "Usage over time"),
        ("admin:people", "People"),
        ("account_login", "Sign-in and security"),
        ("usage-report", "POST /api/v1/usage/report"),
        ("usage-summary", "GET /api/v1/usage/summary"),
        ("agent-detail", "GET /api/v1/agents/{machine_id}"),
        ("document_upload", "document_upload"),
        ("unknown", "unknown"),
    ],
)
def test_feature_has_the_name_that_readers_know(name, title):
    assert feature_title(name) == title


@pytest.mark.parametrize(
    ("name", "is_page"),
    [("admin:index", True), ("account_login", True), ("mfa_index", True), ("usage-report", False), ("export", False)],
)
def test_pages_of_the_portal_are_recognized(name, is_page):
    assert is_portal_page(name) == is_page


def test_digest_shows_operators_clicks_apart():
    tops = [("admin:index", 9), ("document_upload", 5), ("account_login", 2), ("mfa_index", 1)]
    data = {"top_features": [{"name": name, "count": count} for name, count in tops]}
    assert wording.most_used(data) == [("document_upload", 5)]
    assert wording.portal_pages(data) == [("Overview", 9), ("Sign-in and security", 3)]
    assert wording.user_features(["admin:index", "document_upload", "account_login"]) == [
        "document_upload", "pages of the portal",
    ]  # fmt: skip
