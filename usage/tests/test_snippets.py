"""The scripts that a new token of an application comes with: each reports one run."""

import re
import shutil
import subprocess
import sys

import pytest

from portal.access.tokens import credential
from portal.models import ApiToken
from portal.tests.helpers.receiver import Receiver
from usage.api.serializers import RunSerializer
from usage.snippets import application_guide, application_snippets


@pytest.fixture
def portal(settings):
    with Receiver() as portal:
        settings.PORTAL_URL = portal.url
        portal.usual = (200, {"status": "recorded"})
        yield portal


@pytest.mark.parametrize(("name", "command"), [("report.sh", ["sh"]), ("report.py", [sys.executable])])
def test_script_reports_a_valid_run(portal, tmp_path, name, command):
    if name == "report.sh" and not shutil.which("curl"):
        pytest.skip("curl is missing")
    scripts = {snippet.file_name: snippet.text for snippet in application_snippets()}
    (tmp_path / "vigie.token").write_text("the-token\n")
    (tmp_path / name).write_text(scripts[name])
    done = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    path, headers, _body = portal.requests[0]
    assert headers["Authorization"] == "Bearer the-token"
    body = portal.bodies[0]
    runs = body["runs"] if path.endswith("/batch") else [body]
    assert RunSerializer(data=runs[0]).is_valid(), path


def test_scripts_contain_no_token_and_no_unfilled_address(portal):
    for snippet in application_snippets():
        assert portal.url in snippet.text
        assert not credential.TOKEN_IN_TEXT.search(snippet.text)
        assert not re.search(r"{[{%]", snippet.text)


def test_other_kinds_of_tokens_have_no_such_guide():
    assert application_guide(ApiToken.Kind.ENROLL) is None
