"""The validation rules of the contract, which the portal applies too."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from vigie_client import contract

TOKEN_LIKE = "vigie_client_0123456789ab_secret"


@pytest.mark.parametrize(
    "value", ["Bob.Martin+x@Example.ORG", "o'neil@example.co.uk", "x" * 64 + "@example.org", "bob@intranet", "Jérôme@münchen.de", "bob@exa_mple.org", "bob@10.0.0.1"]
)  # fmt: skip
def test_email_address_is_lowercased(value: str) -> None:
    assert contract.normalize_email(value) == value.lower()


@pytest.mark.parametrize(
    "value",
    ["bob", "bob@", "@example.org", "bob@example.org\n", " bob@example.org", "client:gui", "bob@example:8000", '"bob"@example.org', "bob@@example.org",
     ".bob@example.org", "bo..b@example.org", "bob@-example.org", "bob@example..org", "İ" * 60 + "@" + "x." * 96 + "x", "x" * 65 + "@example.org",
     "bob@" + "x." * 125 + "org", f"{TOKEN_LIKE}@example.org", None, 7],
)  # fmt: skip
def test_invalid_email_address_is_empty(value: Any) -> None:
    assert contract.normalize_email(value) == ""


@pytest.mark.parametrize(
    "route",
    ["/api/documents/upload", "/api/v1/users/{id}/files", "/users/:id", "/users/<int:pk>/", "documents.upload", "main/export", "/", "", "/a~b_c-d", "/oauth2/callback",
     "/two-factor-authentication-settings", "/internationalization", "/a" * 100, "/api/getUserProfileById", "/exportPDF", "/CUSTOMERS/x", "/files/{name}.pdf",
     "/users/:id.json", "admin:usage_run_changelist", "/checks/sha256", "/api/DocumentsList", "/admin/usage/run/", "/users/<str:x>", "/users/{user_identifier2}",
     "/.well-known/x", "main.export_all"],
)  # fmt: skip
def test_route_without_values_is_kept(route: str) -> None:
    assert contract.reduce_route(route) == route


@pytest.mark.parametrize(
    ("endpoint", "route"),
    [
        ("/api/documents?name=secret.pdf", "/api/documents"),
        ("/api/documents#secret.pdf", "/api/documents"),
        ("/api/documents?é=\\ #?", "/api/documents"),
        ("?secret", ""),
        ("/users/7", "/users/{id}"),
        ("/users/8291/files/3/", "/users/{id}/files/{id}/"),
        ("/points/45.76:4.83", "/points/{id}"),
        ("/files/ABCDEFAB-abcd-abcd-abcd-abcdefabcdef/x", "/files/{id}/x"),
        ("/reset/abcdefghijklmno1", "/reset/{id}"),
        ("/reset/abcDEFghiJKLmnop", "/reset/{id}"),
        ("/home/bob/secret.pdf", "/home/bob/{id}"),
        ("/u/:bob:secretpw", "/u/{id}"),
        ("/invite/ABC123def456", "/invite/{id}"),
        ("/invite/{8291}", "/invite/{id}"),
        ("/days/2026-03-10", "/days/{id}"),
        ("/invoices/INV-2041", "/invoices/{id}"),
        ("/files/file-0f8fad5b-d9cb-469f-a165-70867728950e/x", "/files/{id}/x"),
        ("/files/deadbeefdeadbeef", "/files/{id}"),
        ("/reset/aZ9kQ2mXw8LpR4tBv", "/reset/{id}"),
        ("/export/data.csv/rows", "/export/{id}/rows"),
        ("secret.docx", "{id}"),
        ("/users/jean.dupont/edit", "/users/{id}/edit"),
        ("/users/{jean.dupont}/edit", "/users/{id}/edit"),
        ("/u/bob:secretpw/x", "/u/{id}/x"),
        ("/reset/kqjhsdfkjhqsdkfjhqskdjfh", "/reset/{id}"),
        ("/reset/KQJHSDFKJHQSDKFJHQSKDJFH", "/reset/{id}"),
        ("/reset/abcDEFgh", "/reset/{id}"),
        ("/invite/abc-12de", "/invite/{id}"),
        ("/1" * 40, "/{id}" * 40),
    ],
)
def test_query_and_values_of_a_route_are_replaced(endpoint: str, route: str) -> None:
    assert contract.reduce_route(endpoint) == route


@pytest.mark.parametrize("endpoint", ["/1" * 41, "/1" * 101, "/" + "1" * 200, "/" + "a-" * 100])
def test_long_route_is_empty(endpoint: str) -> None:
    assert contract.reduce_route(endpoint) == ""


@pytest.mark.parametrize(
    "endpoint", ["/a b", "/é", "C:\\Users\\bob", "C:/Users/bob", "https://bob:pw@example.org/", "/a%2Fsecret", "/bob@example.org", "/a\n", "/a\\b", "file:///secret", "/\x00", f"/x/{TOKEN_LIKE}"]
)  # fmt: skip
def test_invalid_route_is_none(endpoint: str) -> None:
    assert contract.reduce_route(endpoint) is None


@pytest.mark.parametrize("text", ["a", "a b", "x" * 128, "PC-LYON:07 +1_.", "secret.pdf"])
def test_identifier_is_valid(text: str) -> None:
    assert contract.is_identifier(text)


@pytest.mark.parametrize("text", ["", "a/b", "a\\b", "é", "a\n", "x" * 129, TOKEN_LIKE, f"x {TOKEN_LIKE}"])
def test_identifier_is_invalid(text: str) -> None:
    assert not contract.is_identifier(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("secret.pdf", True), ("open secret.docx now", True), ("secret.pdf:3", True), ("a.b.c", False), ("6.0.3", False)],
)
def test_file_name_in_a_text_is_found(text: str, expected: bool) -> None:
    assert contract.has_file_name(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ValueError", True),
        ("errors.Failed", True),
        ("E_42", True),
        ("404", False),
        ("no file", False),
        ("a.pdf", False),
    ],
)
def test_error_name_is_a_class_or_a_code(text: str, expected: bool) -> None:
    assert contract.is_error_name(text) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (".PDF", "pdf"), ("pdf", "pdf"), ("x" * 11, "other"), ("p.df", "other"), ("", "other"), (7, "other")]
)  # fmt: skip
def test_extension_is_normalized(value: Any, expected: Optional[str]) -> None:
    assert contract.normalize_extension(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (2**31 - 1, 2**31 - 1), (-1, None), (2**31, None), (True, None), (3.0, None), ("3", None)])  # fmt: skip
def test_wire_integer_is_an_int_within_its_limits(value: Any, expected: Optional[int]) -> None:
    assert contract.wire_integer(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, True), (10, True), (-1, False), (11, False), (True, False), (7.0, False), ("7", False)])  # fmt: skip
def test_score_is_an_int_from_0_to_10(value: Any, expected: bool) -> None:
    assert contract.is_score(value) is expected


@pytest.mark.parametrize(
    ("value", "name"),
    [("Carol@Example.ORG", "carol@example.org"), ("  Carol \t de la\r\nTour ", "carol de la tour"), ("E\u0301LISE", "élise"), ("李雷", "李雷"), ("a" * 254, "a" * 254),
     ("carol@example.org\u200b", "carol@example.org"), ("Ca\u00adr\u200dol", "carol"), ("E\u200b\u0301lise", "élise"), ("agents: x", "agents: x")],
)  # fmt: skip
def test_participant_has_one_spelling(value: str, name: str) -> None:
    assert contract.participant_name(value) == name


@pytest.mark.parametrize(
    "value",
    [None, 7, "", " \n", "\u202e", "a" * 255, "İ" * 128, "a" + "\u200b" * 1016, "car\x00ol", "car\x1fol", "car\x85ol", "car\ufffdol", chr(0xD800), "car\uffffol", "agent:pc-7",
     " CLIENT : x", "ag\u200bent:pc-7", f"x {TOKEN_LIKE}", TOKEN_LIKE[:5] + "\u2060" + TOKEN_LIKE[5:]],
)  # fmt: skip
def test_invalid_participant_is_empty(value: Any) -> None:
    assert contract.participant_name(value) == ""


@pytest.mark.parametrize(
    ("text", "may_cut", "expected"),
    [
        (" Windows\t11\x00 ", True, "Windows11"),
        ("a\ud800b\u2028", True, "ab"),
        ("x" * 11, True, "x" * 10),
        ("x" * 11, False, None),
        ("x" * 10, False, "x" * 10),
        ("x" * 9 + " y", True, "x" * 9),
        (f"pc {TOKEN_LIKE}", True, None),
        ("\x00", True, None),
        (" ", True, ""),
    ],
)
def test_description_is_cleaned_cut_or_left_out(text: str, may_cut: bool, expected: Optional[str]) -> None:
    assert contract.reduce_description(text, 10, may_cut=may_cut) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("compta_db", "compta_db"),
        ("PC-LYON-07.b", "PC-LYON-07.b"),
        ("Compta é/2025", "Compta_e_2025"),
        ("ﬁn", "fin"),
        ("..", "_"),
        ("", "_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("...hidden", "hidden"),
        (" a ", "a"),
        ("日本", "_"),
        ("a\0b\n", "a_b"),
        ("x" * 300, "x" * 128),
        ("日" * 600 + "x", "_"),
    ],
)
def test_path_name_is_a_safe_file_name(name: str, expected: str) -> None:
    assert contract.path_name(name) == expected


def test_normal_form_limits_its_input() -> None:
    assert len(contract.normal_form("e\u0301" * 1024)) == 512
