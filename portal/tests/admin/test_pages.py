"""Pages outside the admin that share its design: errors, error codes, API documentation."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from portal.api.errors import handler500
from portal.base.problems import CODES

pytestmark = pytest.mark.django_db


def test_unknown_address_is_404_in_the_site_design(client):
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()


def test_forbidden_page_is_403_in_the_site_design(client):
    client.force_login(User.objects.create_user("sam", is_staff=True))
    response = client.get(reverse("admin:agents_agent_changelist"))
    assert response.status_code == 403
    assert "You don’t have permission" in response.content.decode()


def test_form_without_csrf_token_is_403_in_the_site_design():
    response = Client(enforce_csrf_checks=True).post(reverse("account_login"), {})
    assert response.status_code == 403
    assert "The form was not accepted" in response.content.decode()


def test_error_page_needs_no_database(rf, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = handler500(rf.get("/admin/"))
    assert response.status_code == 500
    assert "Something went wrong" in response.content.decode()


def test_every_error_code_has_an_anchor(client):
    text = client.get("/docs/api").content.decode()
    for name, code in CODES.items():
        assert f'id="{name}"' in text
        assert code.title in text.replace("&#x27;", "'")


def test_api_documentation_keeps_the_strict_content_security_policy(client):
    response = client.get("/api/docs/")
    text = response.content.decode()
    assert response.status_code == 200
    assert "<style" not in text
    assert "'unsafe" not in response["Content-Security-Policy"]
    script = client.get("/api/docs/?script=")
    assert script["Content-Type"] == "application/javascript"
    assert "SwaggerUIBundle" in script.content.decode()
