"""Split scripts into statements, wherever the pieces that are read end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backups.drills.scripts import MYSQL, POSTGRESQL, SQLITE, Dialect, Script

# A script, and its statements as they are sent.
CASES: dict[str, tuple[Dialect, str, list[str]]] = {
    "nothing": (SQLITE, "", []),
    "blanks and semicolons": (SQLITE, " ;;\n; \t;", []),
    "comments alone": (SQLITE, "-- a;\n/* b; */ -- c", []),
    "last without a semicolon": (SQLITE, "A;\nB", ["A;", "B"]),
    "quoted semicolons": (SQLITE, "A ';' \";\" `;` [;];B;", ["A ';' \";\" `;` [;];", "B;"]),
    "doubled quotes": (SQLITE, "A 'it''s;' \"x\"\";\";B;", ["A 'it''s;' \"x\"\";\";", "B;"]),
    "backslash is a character": (SQLITE, "A '\\';B;", ["A '\\';", "B;"]),
    "comments within": (SQLITE, "A -- ;'\n/* ;' */ b;C;", ["A -- ;'\n/* ;' */ b;", "C;"]),
    "minus and slash": (SQLITE, "A 1-2/3-'-';B;", ["A 1-2/3-'-';", "B;"]),
    "trigger": (
        SQLITE, "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT CASE 1 WHEN 1 THEN 2 END; END;B;",
        ["CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT CASE 1 WHEN 1 THEN 2 END; END;", "B;"],
    ),
    "trigger with a comment before its end": (
        SQLITE, "CREATE TEMP TRIGGER t AFTER DELETE ON a BEGIN DELETE FROM b; /* x */ -- y\nEND ;B;",
        ["CREATE TEMP TRIGGER t AFTER DELETE ON a BEGIN DELETE FROM b; /* x */ -- y\nEND ;", "B;"],
    ),
    "trigger with a case in it": (
        SQLITE, "CREATE TRIGGER t AFTER DELETE ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 -- ;\nEND; END/**/;B;",
        ["CREATE TRIGGER t AFTER DELETE ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 -- ;\nEND; END/**/;", "B;"],
    ),
    "dollar quotes": (POSTGRESQL, "A $$;'$$;B $x$ ; $$ $x$;C $1;", ["A $$;'$$;", "B $x$ ; $$ $x$;", "C $1;"]),
    "escaped strings": (POSTGRESQL, "A E'\\';';B '\\';C e'\\\\';D;", ["A E'\\';';", "B '\\';", "C e'\\\\';", "D;"]),
    "name that ends with e": (POSTGRESQL, "A like'\\';B;", ["A like'\\';", "B;"]),
    "name with a dollar": (POSTGRESQL, "A a$b$c;B $b$;$b$;", ["A a$b$c;", "B $b$;$b$;"]),
    "client commands": (POSTGRESQL, "\\restrict x\nA;\n\\connect y;\nB;", ["\\restrict x\n", "A;", "\\connect y;\n", "B;"]),
    "body of statements": (
        POSTGRESQL, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END;B;",
        ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END;", "B;"],
    ),
    "body with quotes and words": (
        POSTGRESQL, "CREATE FUNCTION f() BEGIN ATOMIC SELECT 'END', \"END\", $$ END; $$, a$END$, friend, x like'END\\'; END;B;",
        [
            "CREATE FUNCTION f() BEGIN ATOMIC SELECT 'END', \"END\", $$ END; $$, a$END$, friend, x like'END\\'; END;",
            "B;",
        ],
    ),
    "rule": (
        POSTGRESQL, "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT ';)');B;",
        ["CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT ';)');", "B;"],
    ),
    "escapes": (MYSQL, "A '\\';' \"\\\";\" `\\`;B;", ["A '\\';' \"\\\";\" `\\`;", "B;"]),
    "two minus signs": (MYSQL, "A 1--2;\n--\nB;\n-- x;\nC --\t;\n;--2;", ["A 1--2;", "B;", "C --\t;\n;", "--2;"]),
    "minus signs alone on a line": (MYSQL, "--\nDROP;--\n\nB;", ["DROP;", "B;"]),
    "number signs": (MYSQL, "# x;\nA # ;\n;B;", ["A # ;\n;", "B;"]),
    "executable comments": (
        MYSQL, "/*!40101 SET a */;\n/*!50003 B */ /*!1 ; */;/* C; */D;",
        ["/*!40101 SET a */;", "/*!50003 B */ /*!1 ; */;", "D;"],
    ),
    "comment of the sandbox": (MYSQL, "/*M!999999\\- enable the sandbox mode */ \n-- x\nA;", ["A;"]),
    "comment of MariaDB": (MYSQL, "/*M!100616 A;B */;C;", ["/*M!100616 A;B */;", "C;"]),
    "comment that begins with an M": (MYSQL, "/*Many;*/A;", ["A;"]),
    "delimiter": (MYSQL, "A;\nDELIMITER ;;\nB; C;;\nDELIMITER ;\nD;", ["A;", "DELIMITER ;;\n", "B; C;;", "DELIMITER ;\n", "D;"]),
    "delimiter of dollars": (
        MYSQL, "delimiter $$\nA; $ '$$' END$$\nB$$\ndelimiter ;", ["delimiter $$\n", "A; $ '$$' END$$", "B$$", "delimiter ;"],
    ),
    "delimiter of slashes": (
        MYSQL, "DELIMITER //\r\nA /* // */ / 2; -- //\n//B//", ["DELIMITER //\r\n", "A /* // */ / 2; -- //\n//", "B//"],
    ),
    "delimiter of a word": (MYSQL, "DELIMITER go\nA; gg 'go' go B;go", ["DELIMITER go\n", "A; gg 'go' go", "B;go"]),
    "commands of the client": (MYSQL, "\\! touch x\nA;\\. y\nB;", ["\\! touch x\n", "A;", "\\. y\n", "B;"]),
    "word that begins as a command": (MYSQL, "DELIMITERS;A;", ["DELIMITERS;", "A;"]),
}  # fmt: skip


def split(dialect: Dialect, pieces: list[bytes]) -> list[tuple[str, int]]:
    """Return the statements with their lines, and change the delimiter as an engine does."""
    found = []
    script = Script(iter(pieces), dialect)
    for statement in script:
        found.append((str(statement), statement.line))
        if statement.text.upper().startswith(b"DELIMITER "):
            script.set_delimiter(statement.text.split()[1])
    return found


@pytest.mark.parametrize("name", CASES)
def test_statements_are_the_same_wherever_a_piece_ends(name: str) -> None:
    dialect, text, statements = CASES[name]
    data = text.encode()
    whole = split(dialect, [data])
    assert [statement for statement, _line in whole] == statements
    assert split(dialect, [bytes([byte]) for byte in data]) == whole
    for end in range(len(data)):
        assert split(dialect, [data[:end], data[end:]]) == whole, end


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL], ids=["sqlite", "postgresql", "mysql"])
def test_line_of_each_statement_is_counted(dialect: Dialect) -> None:
    script = b"-- x\nA;\n\n/* y\n */ B\n\n; C '\n\n';D;\n"
    assert split(dialect, [script]) == [("A;", 2), ("B\n\n;", 5), ("C '\n\n';", 7), ("D;", 9)]


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MYSQL], ids=["sqlite", "postgresql", "mysql"])
def test_script_is_not_read_ahead_of_its_statements(dialect: Dialect) -> None:
    read: list[int] = []

    def pieces() -> Any:
        for number in range(1000):
            read.append(number)
            yield b"/* x */ SET a = 1;\n-- y\nSET b;\n"

    script = iter(Script(pieces(), dialect))
    next(script)
    assert len(read) < 10


def test_executable_comments_are_not_read_ahead() -> None:
    read: list[int] = []

    def pieces() -> Any:
        for number in range(1000):
            read.append(number)
            yield b"/*!40101 SET a = 1 */;\n"

    next(iter(Script(pieces(), MYSQL)))
    assert len(read) < 10


@pytest.mark.parametrize(
    ("dialect", "head"),
    [(POSTGRESQL, b"CREATE FUNCTION f() BEGIN ATOMIC\n"), (SQLITE, b"CREATE TRIGGER t AFTER DELETE ON a BEGIN\n")],
    ids=["postgresql", "sqlite"],
)
def test_body_of_many_statements_is_examined_a_few_times_only(dialect: Dialect, head: bytes) -> None:
    examined: list[int] = []

    def count(data: bytes, start: int, end: int, depth: int) -> int:
        examined.append(end - start)
        return dialect.nesting(data, start, end, depth)

    statement = head + b"SELECT (1);\n" * 2000 + b"END;"
    pieces = [statement[at : at + 512] for at in range(0, len(statement), 512)]
    assert split(replace(dialect, nesting=count), pieces) == [(statement.decode(), 1)]
    assert sum(examined) < 4 * len(statement)
