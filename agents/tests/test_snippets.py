"""Scripts that enrol a machine: each keeps the token off the command line and off the page."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from agents.snippets import machine_scripts
from client.tests.helpers.machine_names import MACHINE_NAMES
from portal.access.tokens import credential
from portal.tests.helpers.programs import require

pytestmark = pytest.mark.django_db
NAMES = [name for _, name in MACHINE_NAMES]
PASCAL = Path(__file__).with_name("inno.pas")


@pytest.fixture
def scripts(settings):
    return machine_scripts(settings.PORTAL_URL)


def test_scripts_have_the_address_of_this_portal_and_no_token(scripts, settings):
    assert set(scripts) == {"vigie.sh", "vigie.ps1", "vigie.iss"}
    for text in scripts.values():
        assert f"'{settings.PORTAL_URL}" in text
        assert text.isascii()
        assert not credential.TOKEN_IN_TEXT.search(text)
        assert "{{" not in text
        assert "{%" not in text


@pytest.mark.parametrize(("seconds", "minutes"), [(10, 1), (300, 5), (86_400, 59)])
def test_scripts_send_heartbeats_at_the_interval_of_the_portal_in_minutes(settings, seconds, minutes):
    settings.HEARTBEAT_INTERVAL_SECONDS = seconds
    scripts = machine_scripts(settings.PORTAL_URL)
    assert f"$minute-59/{minutes} * * * *" in scripts["vigie.sh"]
    assert f"New-TimeSpan -Minutes {minutes})" in scripts["vigie.ps1"]
    assert f"/SC MINUTE /MO {minutes} " in scripts["vigie.iss"]


def test_inno_sets_all_four_timeouts_and_deletes_the_file(scripts):
    text = scripts["vigie.iss"]
    assert "SetTimeouts(Patience, Patience, Patience, Patience)" in text
    assert "if Result then DeleteFile(TokenFile)" in text
    assert '{#SetupSetting("AppVersion")}' in text


def test_inno_leaves_the_event_functions_of_the_including_script_alone(scripts):
    events = re.findall(r"^<event\('(\w+)'\)>\n(?:function|procedure) Vigie\1\b", scripts["vigie.iss"], re.MULTILINE)
    assert len(events) == 5
    assert not re.findall(
        r"^(?:function|procedure) (?:Initialize|Cur|Next|ShouldSkip)", scripts["vigie.iss"], re.MULTILINE
    )


@pytest.mark.parametrize("script", ["vigie.ps1", "vigie.iss"])
def test_token_is_for_system_administrators_and_one_user_who_may_only_read_it(scripts, script):
    grants = re.findall(r"(\S+):\(OI\)\(CI\)(\w+)", scripts[script])
    assert [rights for _, rights in grants] == ["F", "F", "RX"]
    assert [grant.strip("'") for grant, _ in grants[:2]] == ["*S-1-5-18", "*S-1-5-32-544"]
    assert "/inheritance:r" in scripts[script]


@pytest.mark.parametrize(
    ("script", "delete", "write", "checks"),
    [
        ("vigie.ps1", "Remove-Item -LiteralPath $store -Force", "WriteAllText($store", "if ($LASTEXITCODE -ne 0)"),
        (
            "vigie.iss",
            "DeleteFile(StateFile('token.json'))",
            "SaveStringToFile(StateFile('token.json')",
            "if Done then",
        ),
    ],
)
def test_token_file_on_windows_is_a_new_one_in_a_folder_that_icacls_has_protected(
    scripts, script, delete, write, checks
):
    text = scripts[script]
    assert text.count(write) == 1
    assert 0 < text.find(delete) < text.find(write)
    assert checks in text


def test_powershell_asks_for_tls_and_sends_bytes(scripts):
    assert "Tls12" in scripts["vigie.ps1"]
    assert "[Text.Encoding]::UTF8.GetBytes(" in scripts["vigie.ps1"]


def test_powershell_script_parses(scripts):
    tree = Parser(Language(tree_sitter_powershell.language())).parse(scripts["vigie.ps1"].encode())
    assert not tree.root_node.has_error


def test_inno_script_says_that_an_operator_must_approve(scripts):
    assert "if Refusal = 'approval_required' then" in scripts["vigie.iss"]


# --- One rule for machine names --------------------------------------------------------------------------------------


def test_shell_names_a_machine_by_the_rule(scripts):
    (function,) = re.findall(r"^machine_name\(\) .*$", scripts["vigie.sh"], re.MULTILINE)
    loop = 'for host in "$@"; do echo "$(printf "%s\\n" "$host" | machine_name)"; done'
    shell = ["sh", "-c", f"LC_ALL=C; export LC_ALL\n{function}\n{loop}", "sh", *(host for host, _ in MACHINE_NAMES)]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == NAMES


def test_powershell_names_a_machine_by_the_rule(scripts):
    """Apply the replacements of the script in Python; the rest of the function cuts to 128."""
    (first, second) = re.findall(r"-creplace '([^']*)', '(-?)'", scripts["vigie.ps1"])
    assert [re.sub(*second, re.sub(*first, host))[:128] for host, _ in MACHINE_NAMES] == NAMES


def pascal_functions(text):
    """Return the functions of the snippet that Free Pascal can run."""
    names = "JsonText|JsonValue|ReadText|FindToken|ReadToken|MachineName"
    return "\n".join(re.findall(rf"^function (?:{names})\(.*?^end;$", text, re.MULTILINE | re.DOTALL))


def test_inno_names_a_machine_by_the_rule_and_reads_every_encoding(scripts, tmp_path):
    require(shutil.which("fpc"), "fpc", "fp-compiler")
    source = PASCAL.read_text().replace("{FUNCTIONS}", pascal_functions(scripts["vigie.iss"]))
    (tmp_path / "inno.pas").write_text(source)
    subprocess.run(["fpc", "-v0", "inno.pas"], cwd=tmp_path, check=True, capture_output=True)
    token = str(credential.mint_token("agent"))
    files = []
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        files.append(tmp_path / encoding)
        files[-1].write_text(json.dumps({"machine_id": "PC-1", "api_token": token}) + "\r\n", encoding)
    hosts = "".join(f"{host}\n" for host, _ in MACHINE_NAMES)
    done = subprocess.run(
        [tmp_path / "inno", *files], input=hosts, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:-1] == [f"PC-1 {token}"] * 3 + NAMES
