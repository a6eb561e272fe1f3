"""Dumps that try to leave the sandbox on a server of MariaDB, or never to end."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backups.drills import child
from backups.drills.assertions import Assertion
from backups.drills.limits import DISK_IS_FULL, SPACE_IS_LOW, TIME_IS_UP
from backups.drills.mysql import sandbox, server
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome, SandboxUnavailable
from backups.drills.tests.mysql_factories import TABLE, ask, leftovers, make_dump
from backups.reasons import format_error

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
MIB = 1024 * 1024
REFUSED = "{}: refused in the sandbox"
DENIED = "command denied to user"
USERS, SERVER = ({"code": "users_left_out"},), ({"code": "server_left_out"},)

# What the dump holds after an honest table, the status, the beginning of the only error, and the warnings. FOLDER is a
# folder that the server may write to.
HOSTILE: dict[str, tuple[str, str, str, tuple[Any, ...]]] = {
    # Files
    "load data": ("LOAD DATA INFILE '/etc/passwd' INTO TABLE a;", FAILED, REFUSED.format("LOAD"), ()),
    "load local": ("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE a;", FAILED, REFUSED.format("LOAD"), ()),
    "load xml": ("load/**/xml INFILE '/etc/passwd' INTO TABLE a;", FAILED, REFUSED.format("LOAD"), ()),
    "load in a comment": (
        "/*!50000 LOAD DATA INFILE '/etc/passwd' INTO TABLE a */;", FAILED, REFUSED.format("LOAD"), (),
    ),
    "outfile": ("SELECT 1 INTO OUTFILE 'FOLDER/out';", FAILED, "SELECT: ER_SPECIFIC", ()),
    "dumpfile": ("SELECT 1 INTO DUMPFILE 'FOLDER/out';", FAILED, "SELECT: ER_SPECIFIC", ()),
    "outfile of a view's rows": (
        "CREATE VIEW v AS SELECT 1; (SELECT * FROM v) INTO OUTFILE 'FOLDER/out';", FAILED, "SELECT: ER_SPECIFIC", (),
    ),
    "load_file": ("UPDATE a SET name = COALESCE(LOAD_FILE('/etc/passwd'), name);", PROVEN, "", ()),
    "data directory": (
        "SET sql_mode = ''; CREATE TABLE b (i int) DATA DIRECTORY = 'FOLDER';"
        "CREATE TABLE c (i int) ENGINE=MyISAM DATA DIRECTORY = 'FOLDER' INDEX DIRECTORY = 'FOLDER';", PROVEN, "", (),
    ),
    "data directory in a comment": (
        "SET sql_mode = ''; /*!50000 CREATE*/ /*!99999 x */ TABLE b (i int) ENGINE=Aria DATA/**/DIRECTORY = 'FOLDER';",
        PROVEN, "", (),
    ),
    "data directory of a partition": (
        "SET sql_mode = ''; CREATE TABLE b (i int) PARTITION BY HASH (i) (PARTITION p DATA DIRECTORY = 'FOLDER');",
        PROVEN, "", (),
    ),
    "data directory in a function": (
        "DELIMITER //\nSET sql_mode = ''// CREATE FUNCTION f() RETURNS int BEGIN CREATE TEMPORARY TABLE b (i int)"
        " ENGINE=MyISAM DATA DIRECTORY = 'FOLDER'; RETURN 1; END//\nDELIMITER ;\nSELECT f();", FAILED, "SELECT: ER_DBACCESS", (),
    ),
    # Programs
    "shell": ("\\! touch FOLDER/out\n", FAILED, "A command of the client program", ()),
    "backslash and dot": ("\\. /etc/passwd\n", FAILED, "A command of the client program", ()),
    "system": ("system touch FOLDER/out\n", FAILED, REFUSED.format("SYSTEM"), ()),
    "source": ("source /etc/passwd\n", FAILED, REFUSED.format("SOURCE"), ()),
    "tee": ("tee FOLDER/out\n;", FAILED, REFUSED.format("TEE"), ()),
    "pager": ("pager touch FOLDER/out\n;", FAILED, REFUSED.format("PAGER"), ()),
    "connect": ("connect mysql 10.0.0.1\n;", FAILED, REFUSED.format("CONNECT"), ()),
    "plugin": ("INSTALL PLUGIN connect SONAME 'ha_connect';", PROVEN, "", SERVER),
    "library": ("INSTALL SONAME 'ha_connect';", PROVEN, "", SERVER),
    "function of a library": ("CREATE FUNCTION sys_exec RETURNS int SONAME 'lib_mysqludf_sys.so';", PROVEN, "", SERVER),
    "aggregate of a library": ("CREATE AGGREGATE FUNCTION x RETURNS int SONAME 'x.so';", PROVEN, "", SERVER),
    # Other machines
    "server": ("CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '10.0.0.1');", PROVEN, "", SERVER),
    "federated": ("CREATE TABLE b (i int) ENGINE=FEDERATED CONNECTION='mysql://10.0.0.1/x/y';", UNSUPPORTED, "", ("",)),
    "connect engine": ("CREATE TABLE b (i int) ENGINE=CONNECT FILE_NAME='/etc/passwd';", UNSUPPORTED, "", ("",)),
    "replication": ("CHANGE MASTER TO MASTER_HOST='10.0.0.1'; START SLAVE;", PROVEN, "", SERVER),
    # The server
    "create user": ("CREATE USER mallory IDENTIFIED BY 'x';", PROVEN, "", USERS),
    "grant": ("GRANT ALL ON *.* TO CURRENT_USER WITH GRANT OPTION;", PROVEN, "", USERS),
    "grant in a comment": ("/*M!100005 GRANT ALL ON *.* TO CURRENT_USER */;", PROVEN, "", USERS),
    "password": ("SET PASSWORD = PASSWORD('x');", PROVEN, "", USERS),
    "password of root": ("ALTER USER root@localhost IDENTIFIED BY 'x';", PROVEN, "", USERS),
    "role": ("SET ROLE ALL; CREATE ROLE r;", PROVEN, "", USERS),
    "global variable": ("SET GLOBAL max_connections = 1;", FAILED, "SET: Access denied", ()),
    "global variable by its mark": ("SET @@global.general_log_file = 'FOLDER/out';", FAILED, "SET: Access denied", ()),
    "global after a session's": ("SET @x = 1, GLOBAL general_log = 1;", FAILED, "SET: Access denied", ()),
    "shutdown": ("SHUTDOWN;", FAILED, REFUSED.format("SHUTDOWN"), ()),
    "kill": ("KILL 1;", FAILED, REFUSED.format("KILL"), ()),
    "kill in a function": (
        "DELIMITER //\nCREATE FUNCTION f() RETURNS int BEGIN KILL CONNECTION_ID(); RETURN 1; END//\nDELIMITER ;\n"
        "SELECT f();", FAILED, "The script has ended its own connection", (),
    ),
    "flush": ("FLUSH TABLES WITH READ LOCK;", PROVEN, "", SERVER),
    "purge": ("PURGE BINARY LOGS BEFORE NOW();", PROVEN, "", SERVER),
    "handler": ("HANDLER victim.secrets OPEN;", FAILED, REFUSED.format("HANDLER"), ()),
    # Other databases
    "use mysql": ("USE mysql; INSERT INTO global_priv VALUES ('%','mallory','{}');", PROVEN, "", SERVER),
    "use MySQL": ("uSe `MySQL` ; DROP TABLE user;", PROVEN, "", SERVER),
    "drop mysql": ("DROP DATABASE mysql;", PROVEN, "", SERVER),
    "insert into mysql": ("INSERT INTO mysql.global_priv VALUES ('%','m','{}');", FAILED, "INSERT: ER_TABLEACCESS", ()),
    "use another database": ("USE victim; INSERT INTO secrets VALUES (1);", FAILED, "INSERT: ER_NO_SUCH_TABLE", ()),
    "drop another database": ("DROP DATABASE victim; DROP SCHEMA IF EXISTS victim;", PROVEN, "", ()),
    "write elsewhere": ("INSERT INTO victim.secrets VALUES ('x');", FAILED, "INSERT: ER_TABLEACCESS", ()),
    "delete elsewhere": ("DELETE FROM victim.secrets;", FAILED, "DELETE: ER_TABLEACCESS", ()),
    "truncate elsewhere": ("TRUNCATE victim.secrets;", FAILED, f"TRUNCATE: DROP {DENIED}", ()),
    "read elsewhere": ("INSERT INTO a SELECT * FROM victim.secrets;", FAILED, "INSERT: ER_TABLEACCESS", ()),
    "view of another database": ("CREATE VIEW v AS SELECT * FROM victim.secrets;", FAILED, "CREATE: ANY command", ()),
    "copy of another database": ("CREATE TABLE b LIKE victim.secrets;", FAILED, f"CREATE: SELECT {DENIED}", ()),
    "rename elsewhere": ("RENAME TABLE victim.secrets TO b;", FAILED, f"RENAME: DROP, ALTER {DENIED}", ()),
    "trigger elsewhere": (
        "CREATE TRIGGER victim.t BEFORE INSERT ON victim.secrets FOR EACH ROW SET @x = 1;", FAILED, "CREATE: TRIGGER", (),
    ),
    "merge of another table": (
        "CREATE TABLE b (s text) ENGINE=MERGE UNION=(victim.secrets);", FAILED, f"CREATE: SELECT, UPDATE, DELETE {DENIED}",
        (),
    ),
    "reference to another table": (
        "CREATE TABLE b (i int, FOREIGN KEY (i) REFERENCES victim.secrets (i));", FAILED, f"CREATE: REFERENCES {DENIED}",
        (),
    ),
    "lock elsewhere": ("LOCK TABLES victim.secrets WRITE;", FAILED, "LOCK: Access denied", ()),
    "root's function": (
        "CREATE DEFINER=`root`@`localhost` FUNCTION f() RETURNS text SQL SECURITY DEFINER RETURN"
        " (SELECT s FROM victim.secrets LIMIT 1); INSERT INTO a SELECT 3, f();", FAILED, "INSERT: ER_TABLEACCESS", (),
    ),
    "root's trigger": (
        "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW"
        " DELETE FROM victim.secrets */; INSERT INTO a VALUES (3, '');", FAILED, "INSERT: ER_TABLEACCESS", (),
    ),
    "root's view": (
        "CREATE ALGORITHM=UNDEFINED DEFINER='root'@'%' SQL SECURITY DEFINER VIEW v AS SELECT user FROM mysql.user;",
        FAILED, "CREATE: ", (),
    ),
    "database of another drill": ("USE vigie_drill_0123456789abcdef; CREATE TABLE b (i int);", PROVEN, "", ()),
    # Statements that hide others
    "prepare": ("SET @s = 'SHUTDOWN'; PREPARE s FROM @s;", FAILED, REFUSED.format("PREPARE"), ()),
    "execute": ("EXECUTE IMMEDIATE 'CREATE TABLE b (i int)';", FAILED, REFUSED.format("EXECUTE"), ()),
    "call": ("CREATE PROCEDURE p() SELECT 1; CALL p();", FAILED, REFUSED.format("CALL"), ()),
    "table filled while it is made": (
        "CREATE TABLE b (c int COMMENT 'a') ENGINE=MyISAM AS SELECT 1;", FAILED, REFUSED.format("CREATE TABLE ... SELECT"), (),
    ),
    "table filled behind a comment": (
        "CREATE # x\nTABLE b (i int) AS SELECT 1;", FAILED, REFUSED.format("CREATE TABLE ... SELECT"), (),
    ),
    "table filled behind a backslash": (
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; CREATE TABLE b (i int COMMENT '\\') AS SELECT 1 i -- ');", FAILED,
        REFUSED.format("CREATE TABLE ... SELECT"), (),
    ),
    "compound": ("BEGIN NOT ATOMIC SELECT 1;", FAILED, REFUSED.format("BEGIN"), ()),
    "compound behind a comment": ("BEGIN -- x\n NOT ATOMIC SELECT 1;", FAILED, REFUSED.format("BEGIN"), ()),
    "if": ("IF 1 THEN SELECT 1;", FAILED, REFUSED.format("IF"), ()),
    "set statement": ("SET STATEMENT sql_mode='' FOR SELECT 1;", FAILED, REFUSED.format("SET"), ()),
    "set statement behind a comment": (
        "SET # x\nSTATEMENT max_statement_time=1 FOR CREATE TABLE b (i int) DATA DIRECTORY = 'FOLDER';", FAILED,
        REFUSED.format("SET"), (),
    ),
    "set statement behind a later version": (
        "SET /*!999990 x */ STATEMENT max_statement_time=1 FOR EXECUTE IMMEDIATE 'DROP TABLE a';", FAILED,
        REFUSED.format("SET"), (),
    ),
    "set statement behind a comment of MySQL": (
        "SET /*!80000 x */ STATEMENT max_statement_time=1 FOR EXECUTE IMMEDIATE 'DROP TABLE a';", FAILED,
        REFUSED.format("SET"), (),
    ),
    "set statement behind a control character": (
        "SET --\x01\nSTATEMENT max_statement_time=1 FOR EXECUTE IMMEDIATE 'DROP TABLE a';", FAILED,
        REFUSED.format("SET"), (),
    ),
    "prepared transaction": (
        "SET -- x\nSTATEMENT max_statement_time=9 FOR XA START 'x'; INSERT INTO a VALUES (3, '');", FAILED,
        REFUSED.format("SET"), (),
    ),
    "rows analyzed": ("ANALYZE FORMAT=JSON DELETE FROM a;", FAILED, REFUSED.format("ANALYZE"), ()),
    "distributed transaction": ("XA START 'x';", FAILED, REFUSED.format("XA"), ()),
    "behind a comment for later versions": ("/*!99999 SELECT 1 */ XA START 'x';", FAILED, REFUSED.format("XA"), ()),
    "in a comment for later versions": ("/*!110000 XA START 'x' */;", FAILED, REFUSED.format("XA"), ()),
    "in nested comments": ("/*!40000 /*!40000 XA START 'x' */ */;", FAILED, REFUSED.format("XA"), ()),
    "label": ("x: LOOP SELECT 1;", FAILED, REFUSED.format("Unknown statement"), ()),
    "quotes without escapes": (
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; INSERT INTO a VALUES (3, '\\'); SHUTDOWN; -- ');", FAILED,
        "INSERT: ER_PARSE_ERROR", (),
    ),
    # Values of rows
    "value as a name": ('SET sql_mode = ANSI_QUOTES; INSERT INTO a VALUES (3, "hidden");', FAILED, "INSERT: ER_BAD_F", ()),
    "value of a key": (
        "INSERT INTO a VALUES (3, 'Anna'); ALTER TABLE a ADD UNIQUE (name(9));", FAILED, "ALTER: ER_DUP_ENTRY", (),
    ),
    "value in a signal": (
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.name;"
        "INSERT INTO a VALUES (3, 'hidden');", FAILED, "INSERT: error 1644", (),
    ),
    "value in a signal as a name": (
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1146, MESSAGE_TEXT = NEW.name;"
        "INSERT INTO a VALUES (3, 'hidden');", FAILED, "INSERT: ER_NO_SUCH_TABLE", (),
    ),
    "value in a signal of a function": (
        "DELIMITER //\nCREATE FUNCTION f(s text) RETURNS int BEGIN"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1193, MESSAGE_TEXT = s; RETURN 1; END//\nDELIMITER ;\n"
        "UPDATE a SET name = 'hidden'; SET @x = (SELECT MAX(f(name)) FROM a);", UNSUPPORTED, "", ("",),
    ),
    "value in a signal as a table": (
        "DELIMITER //\nCREATE FUNCTION f(s text) RETURNS int BEGIN"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1051, MESSAGE_TEXT = s; RETURN 1; END//\nDELIMITER ;\n"
        "UPDATE a SET name = 'hidden'; SET @x = (SELECT MAX(f(name)) FROM a);", FAILED, "SET: ER_BAD_TABLE", (),
    ),
    "value in a signal as a line": (
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1064, MESSAGE_TEXT = NEW.name;"
        "INSERT INTO a VALUES (3, 'at line 10101');", FAILED, "INSERT: ER_PARSE_ERROR", (),
    ),
    "value that looks like a table": (
        "INSERT INTO a VALUES (1, ' INTO `hidden`');", FAILED, "INSERT: ER_DUP_ENTRY", (),
    ),
    "value in a variable": ("SET sql_mode = (SELECT name FROM a LIMIT 1);", FAILED, "SET: ER_WRONG_VALUE_FOR_VAR", ()),
    "value as a statement": ("hidden value;", FAILED, REFUSED.format("Unknown statement"), ()),
    # Events
    "event": ("CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM a;", PROVEN, "", ()),
}  # fmt: skip
ENDLESS: dict[str, str] = {
    "sleep": "SELECT SLEEP(1e9);",
    "sleep in a row": "INSERT INTO a SELECT 3, SLEEP(1e9);",
    "benchmark": "DO BENCHMARK(1e18, SHA2('x', 512));",
    "lock": "SELECT GET_LOCK('x', 1e9), SLEEP(1e9);",
    "recursion": "SET max_recursive_iterations = 4294967295;"
    "WITH RECURSIVE r AS (SELECT 1 i UNION ALL SELECT i + 1 FROM r) SELECT COUNT(*) FROM r;",
    "loop": "DELIMITER //\nCREATE FUNCTION f() RETURNS int BEGIN LOOP DO 1; END LOOP; RETURN 1; END//\nSELECT f()//",
    "trigger": "DELIMITER //\nCREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN LOOP DO 1; END LOOP; END//\n"
    "INSERT INTO a VALUES (3, '')//",
    "endless rows": "SELECT * FROM seq_1_to_4000000000 s;",
    "view": "CREATE VIEW v AS SELECT SLEEP(1e9); SELECT * FROM v;",
    "pattern": "SELECT REPEAT('a', 1000000) REGEXP '(a*)*b', SLEEP(1e9);",
}
FILLING: dict[str, str] = {
    "table": "INSERT INTO a SELECT seq + 9, REPEAT('x', 9000) FROM seq_1_to_100000000;",
    "many rows": "CREATE TABLE b (i int, j int); INSERT INTO b SELECT a.seq, b.seq FROM seq_1_to_100000 a, seq_1_to_100000 b;",
    "many statements": "CREATE TABLE b (t text);" + "INSERT INTO b SELECT REPEAT('x', 9000) FROM seq_1_to_999;" * 99,
    "memory to sort": "SET sort_buffer_size = 20000000000; SELECT seq FROM seq_1_to_100000000 ORDER BY SHA1(seq);",
    "table of MyISAM": "CREATE TABLE b (t text) ENGINE=MyISAM;"
    + "INSERT INTO b SELECT REPEAT('x', 9000) FROM seq_1_to_999;" * 999,
    "temporary table": "SELECT DISTINCT REPEAT(seq, 99) FROM seq_1_to_100000000;",
    "recursion": "SET max_recursive_iterations = 4294967295; WITH RECURSIVE r AS (SELECT 1 i, REPEAT('x', 9000) x UNION ALL"
    " SELECT i + 1, x FROM r) SELECT COUNT(*) FROM r;",
    "undo log": "START TRANSACTION; INSERT INTO a SELECT seq + 9, REPEAT('x', 5000) FROM seq_1_to_2000;"
    + "UPDATE a SET name = REVERSE(CONCAT(name, 'z'));" * 999,
}
# The server has no size of these: of files that are being written, of those to sort with, and of copies of tables.
UNMEASURED: dict[str, str] = {
    "sort": "SELECT seq, REPEAT('x', 200) FROM seq_1_to_100000000 ORDER BY SHA1(seq);",
    "distinct": "SELECT COUNT(DISTINCT SHA1(seq)) FROM seq_1_to_100000000;",
    "table of MyISAM": "CREATE TABLE b (t text) ENGINE=MyISAM; INSERT INTO b SELECT REPEAT('x', 9) FROM seq_1_to_1000000000;",
    "table of CSV": "CREATE TABLE b (t text NOT NULL) ENGINE=CSV; INSERT INTO b SELECT 'x' FROM seq_1_to_1000000000;",
    "copy of a table": "CREATE TABLE b (i int) ENGINE=MyISAM; INSERT INTO b SELECT seq FROM seq_1_to_10000;"
    "ALTER TABLE b ADD j text AS (SHA2(REPEAT(i, 99999), 512)) STORED;",
}


@pytest.fixture(scope="module")
def victim(mariadb: str) -> Iterator[str]:
    """A database of somebody else on the sandbox's server."""
    ask(mariadb, "CREATE DATABASE victim")
    ask(mariadb, "CREATE TABLE victim.secrets (s varchar(99)) ENGINE=MyISAM AS SELECT 'hidden' s")
    yield mariadb
    ask(mariadb, "DROP DATABASE victim")


@pytest.fixture
def drill(victim: str, tmp_path: Path) -> Callable[..., Outcome]:
    """Restore statements in this process."""

    def drill(
        statements: str, *assertions: Assertion, seconds: float = 60, max_bytes: int = 0, reserve: int = 0
    ) -> Outcome:
        path = tmp_path / "dump.sql"
        path.write_bytes(make_dump(TABLE + statements.encode()))
        task: dict[str, Any] = {"name": path.name, "kind": None, "folder": ""}
        task |= {
            "assertions": [vars(assertion) for assertion in assertions],
            "seconds": seconds,
            "max_bytes": max_bytes,
            "reserve": reserve,
            "postgres_url": "",
            "mysql_url": victim,
        }
        return child.drill(task | {"descriptor": os.open(path, os.O_RDONLY)})

    return drill


def describe_server(url: str) -> list[tuple[Any, ...]]:
    """Return what a dump must not change: users, databases, plugins, settings, and a table of somebody else."""
    return ask(
        url,
        "SELECT 'user', CONCAT(Host, User, Priv) FROM mysql.global_priv UNION ALL SELECT 'db', CONCAT(Db, User) FROM mysql.db"
        " UNION ALL SELECT 'database', SCHEMA_NAME FROM information_schema.SCHEMATA"
        " UNION ALL SELECT 'plugin', CONCAT(PLUGIN_NAME, PLUGIN_STATUS) FROM information_schema.PLUGINS"
        " UNION ALL SELECT 'server', Server_name FROM mysql.servers UNION ALL SELECT 'function', name FROM mysql.func"
        " UNION ALL SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES"
        " UNION ALL SELECT 'secret', s FROM victim.secrets",
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_dump_is_contained(drill: Any, victim: str, tmp_path: Path, name: str) -> None:
    statements, status, error, warnings = HOSTILE[name]
    folder = Path(victim.partition("unix_socket=")[2]).parent / "outside"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    before = describe_server(victim)

    outcome = drill(statements.replace("FOLDER", str(folder)))

    assert outcome.status == status, outcome
    assert [re.match(error, format_error(found)) is not None for found in outcome.errors] == [True] * bool(error), (
        outcome
    )
    if warnings == ("",):
        assert [found["code"] for found in outcome.warnings] == ["sandbox_differs"]
    else:
        assert tuple(outcome.warnings) == warnings
    assert "hidden" not in str(outcome.as_json())
    assert all((found["line"] or 0) < 100 for found in outcome.errors)
    assert describe_server(victim) == before
    assert list(folder.iterdir()) == []
    assert drill("").status == PROVEN


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_statement_ends_at_the_time_limit(drill: Any, victim: str, name: str) -> None:
    outcome = drill(ENDLESS[name], seconds=1)
    assert (outcome.status, outcome.errors) == (FAILED, [{"line": None, **TIME_IS_UP}])
    assert leftovers(victim) == []
    assert drill("").status == PROVEN


@pytest.mark.parametrize("name", FILLING)
def test_statement_that_fills_the_disk_ends_at_the_limit(drill: Any, victim: str, name: str) -> None:
    outcome = drill(FILLING[name], max_bytes=64 * MIB)
    assert (outcome.status, outcome.errors) == (FAILED, [{"line": None, **DISK_IS_FULL}])
    assert leftovers(victim) == []
    assert drill("").status == PROVEN


@pytest.mark.parametrize("name", UNMEASURED)
def test_statement_of_unknown_size_ends_at_the_reserve_of_a_disk_of_this_machine(
    drill: Any, victim: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folders = ask(victim, "SELECT @@datadir UNION SELECT @@tmpdir")
    free = {folder: chain([1000], repeat(100)) for (folder,) in folders}
    monkeypatch.setattr(
        os, "statvfs", lambda folder: SimpleNamespace(f_blocks=1, f_frsize=MIB, f_bavail=next(free[folder]))
    )
    with pytest.raises(SandboxUnavailable) as error:
        drill(UNMEASURED[name], max_bytes=64 * MIB, reserve=101 * MIB)
    assert error.value.why == SPACE_IS_LOW
    assert leftovers(victim) == []


def test_view_in_place_of_an_asserted_table_ends_at_the_limit(drill: Any, victim: str) -> None:
    view = "CREATE VIEW v AS SELECT DISTINCT REPEAT(seq, 99) FROM seq_1_to_100000000;"
    outcome = drill(view, Assertion("", "SELECT COUNT(*) FROM v", "equal", "1"), max_bytes=64 * MIB)
    assert (outcome.status, outcome.errors) == (FAILED, [{"line": None, **DISK_IS_FULL}])
    assert leftovers(victim) == []


def test_server_elsewhere_has_no_disk_on_this_machine(victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(server.connect(server.parse_url(victim))) as admin:
        found = server.Server(victim, admin)
        assert all(Path(folder).is_dir() for folder in found.local_folders())
        assert len(found.local_folders()) == 2
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        assert found.local_folders() == []


def test_million_empty_statements_are_nothing(drill: Any) -> None:
    assert drill("; " * 1_000_000).status == PROVEN


def test_million_refused_statements_are_counted(drill: Any) -> None:
    outcome = drill("XA;" * 100_000)
    assert (outcome.status, len(outcome.errors), outcome.errors_omitted) == (FAILED, 50, 99_950)


def test_databases_of_a_dump_are_limited(drill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_DATABASES", 2)
    outcome = drill("USE x; USE y; USE z;")
    assert outcome.errors == [{"line": 7, "code": "too_many_databases", "limit": 2}]


def test_events_are_left_out_where_the_server_runs_them(drill: Any, victim: str) -> None:
    ask(victim, "SET GLOBAL event_scheduler = ON")
    try:
        outcome = drill(
            "DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM a;;"
        )
    finally:
        ask(victim, "SET GLOBAL event_scheduler = OFF")
    assert (outcome.status, outcome.warnings) == (PROVEN, [{"code": "events_left_out"}])


def test_huge_result_does_not_need_memory(restore: Any, victim: str) -> None:
    statements = b"SELECT REPEAT('x', 16000000) FROM seq_1_to_40; SELECT REPEAT('x', 4294967295);\n"
    outcome = restore(make_dump(TABLE + statements), DRILL_MYSQL_URL=victim)
    assert (outcome.status, outcome.rows) == (PROVEN, {"a": 2})
