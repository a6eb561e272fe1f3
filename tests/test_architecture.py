"""Arrows mean imports: beta -> {monitoring, usage}, {usage, backups} -> agents, {agents, monitoring} -> portal."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.legs import paths_of_tests

ROOT = Path(__file__).parent.parent
APPS = ("portal", "agents", "usage", "backups", "monitoring", "beta")
# What each may import of ours.
ALLOWED = {
    "portal": {"portal"},
    "agents": {"agents", "portal"},
    "usage": {"usage", "agents", "portal"},
    "backups": {"backups", "agents", "portal"},
    "monitoring": {"monitoring", "portal"},
    "beta": {"beta", "monitoring", "usage", "agents", "portal"},
    "client/src": {"vigie_client"},
    "demo": {"demo", "vigie_client"},
    "demo/portal_side": {"demo", *APPS},
    "bench": {"bench", "demo", "tests", *APPS},
    "faults": {"faults", "bench", "tests", "vigie_client", *APPS},
}
OURS = {*APPS, "client", "vigie_client", "demo", "bench", "faults", "tests"}
# The wire contract: the one module of the client that the portal shares, so that each rule is written once.
SHARED = {"vigie_client.contract"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def sources(folder):
    """Return the project's modules below the folder, without migrations and without tests, which may import anything."""
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
        if not any(path.is_relative_to(ROOT / inner) for inner in ALLOWED if inner.startswith(f"{folder}/"))
    ]


def imported(path):
    """Return every module that a module imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "vigie_client":
            yield from (f"vigie_client.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("folder", [folder for folder in ALLOWED if (ROOT / folder).exists()])
def test_apps_import_only_lower_ones(folder):
    backward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imported(path)
        if name.split(".")[0] in OURS - ALLOWED[folder] and name not in SHARED
    ]
    assert backward == []


# The packages of portal, lowest first: each imports only those before it.
PACKAGES = [
    "base",
    "egress",
    "work",
    "access",
    "notifications",
    "privacy",
    "api",
    "status",
    "desk",
    "legacy",
    "archives",
    "connect",
    "admin",
    "supervisor",
]
UPWARD = {("portal/access/middleware.py", "portal.api.errors"): "answers a call of the API in the API's form"}


def package_of(dotted):
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "portal" and parts[1] in PACKAGES else None


def test_packages_of_portal_import_only_lower_ones():
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in sources(f"portal/{package}")
        for name in imported(path)
        if package_of(name) and PACKAGES.index(package_of(name)) > PACKAGES.index(package)
        and (str(path.relative_to(ROOT)), name) not in UPWARD
    ]  # fmt: skip
    assert upward == []


def test_tests_of_portal_import_no_app_above_it():
    importing = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "portal/tests").rglob("*.py")
        if {name.partition(".")[0] for name in imported(path)} & (set(APPS) - {"portal"})
    }
    assert importing == set()


MOST_MODULES = 20


def test_folders_have_few_modules():
    modules = Counter(
        path.parent.relative_to(ROOT)
        for folder in ALLOWED
        for path in sources(folder)
        if path.name != "__init__.py"
    )  # fmt: skip
    assert {str(folder): count for folder, count in modules.items() if count > MOST_MODULES} == {}


# Modules by which connections are opened, and who may use them, with the reason.
WAYS_OUT = {
    "apprise",
    "botocore",
    "ftplib",
    "http.client",
    "requests",
    "smtplib",
    "socket",
    "ssl",
    "urllib.request",
    "urllib3",
}
OPENS_NONE = "opens no connection"
MAY_GO_OUT = {
    "portal/egress/": "asks the guard",
    "portal/supervisor/": "listens",
    "portal/management/commands/up.py": "listens",
    "portal/work/processes.py": OPENS_NONE,
    "portal/notifications/channels/apprise.py": "calls services to which `apprise_urls` gave the guarded `requests`",
    "portal/notifications/channels/apprise_urls.py": "gives them it",
    "portal/notifications/channels/mail.py": "Django sends; EMAIL_URL of the environment names the host",
    "monitoring/checks/connectivity.py": "CONNECTIVITY_PROBES of the environment names the hosts, and nothing is sent",
    "backups/drills/": "DRILL_POSTGRES_URL and DRILL_MYSQL_URL of the environment name the servers; no dump does",
    "monitoring/probe/http.py": OPENS_NONE,
    "portal/notifications/channels/http.py": OPENS_NONE,
    "portal/status/doctor/servers.py": OPENS_NONE,
    "backups/drills/postgresql/session.py": OPENS_NONE,
}


def test_every_outgoing_call_passes_the_guard():
    unguarded = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in APPS
        for path in sources(folder)
        for name in imported(path)
        if {name, name.partition(".")[0]} & WAYS_OUT
        if not str(path.relative_to(ROOT)).startswith(tuple(MAY_GO_OUT))
    ]
    assert unguarded == []


def test_contract_imports_only_the_standard_library():
    assert set(imported(ROOT / "client/src/vigie_client/contract.py")) <= {"__future__", "re", "unicodedata"}


def test_imports_inside_functions_are_checked(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from agents.models import Agent\n    import usage.models as u\n")
    assert list(imported(module)) == ["agents.models", "usage.models"]


def normalizes(path):
    """Return whether a module normalises Unicode text of any length, itself or by Django's Truncator."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return "Truncator" in names or any(isinstance(node, ast.Attribute) and node.attr == "normalize" for node in nodes)


def test_unicode_text_is_normalized_in_one_module_which_measures_it_first():
    found = {str(path.relative_to(ROOT)) for folder in ALLOWED for path in sources(folder) if normalizes(path)}
    assert found == {"portal/base/text.py", "client/src/vigie_client/contract.py"}


@pytest.mark.parametrize("folder", [folder for folder in ALLOWED if (ROOT / folder).exists()])
def test_files_and_functions_stay_short(folder):
    long = []
    for path in sources(folder):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long == []


@pytest.mark.parametrize("app", [app for app in APPS if (ROOT / app).exists()])
def test_migrations_have_names(app):
    assert [path.name for path in (ROOT / app / "migrations").glob("*_auto_*.py")] == []


def test_every_test_is_run():
    known = [ROOT / path for path in paths_of_tests()]
    found = {path.parent for path in ROOT.rglob("test_*.py") if ".venv" not in path.parts}
    assert [folder for folder in found if not any(folder.is_relative_to(path) for path in known)] == []
