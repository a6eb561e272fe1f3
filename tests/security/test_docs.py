"""docs/security.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = re.findall(r"^  `(\S+?\.py)(?:::(\w+))?`$", TEXT, re.MULTILINE)


def test_every_named_test_exists():
    assert len(TESTS) > 60
    for file, name in TESTS:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in source if name else "def test_" in source, f"{file}::{name}"


def test_every_promise_names_a_test():
    promises = TEXT.partition("## Promises")[2].partition("## Not promised")[0]
    for promise in re.findall(r"^- .*?(?=^- |^#|\Z)", promises, re.MULTILINE | re.DOTALL):
        assert re.search(r"^  `\S+\.py", promise, re.MULTILINE), promise
