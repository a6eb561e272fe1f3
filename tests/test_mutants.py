"""The list of mutants: each still applies to the code, so that `make mutants` tests what it says."""

from collections import Counter

import pytest

from tests.mutants import ROOT, DoesNotApply, Mutant, load_mutants

PACKAGES = {"agents", "usage", "backups", "monitoring", "beta", "client", "portal"}


def test_mutants_apply_to_the_present_code_and_compile():
    failed = []
    for mutant in load_mutants():
        try:
            content = mutant.mutate(ROOT)
            compile(content, mutant.file, "exec")
        except (DoesNotApply, SyntaxError) as error:
            failed.append(f"{mutant.id}: {error}")
    assert failed == []


def test_mutants_are_tested_by_their_own_package_or_by_the_tests_of_the_whole():
    foreign = [
        mutant.id
        for mutant in load_mutants()
        if not all(test.startswith((f"{mutant.file.split('/')[0]}/tests/", "tests/")) for test in mutant.tests)
    ]
    assert foreign == []


def test_list_has_a_hundred_mutants_over_all_packages():
    counts = Counter(mutant.file.split("/")[0] for mutant in load_mutants())
    assert counts.total() >= 100
    assert counts.keys() == PACKAGES
    assert min(counts.values()) >= 10


def test_mutant_of_changed_code_applies_by_its_earlier_text(tmp_path):
    mutant = Mutant("a", "Breaks.", "new.py", "x < 1", "x > 1", (), earlier={"file": "old.py", "text": "y < 1"})
    (tmp_path / "old.py").write_text("if y < 1: pass")
    found = mutant.for_sources(tmp_path)
    assert (found.file, found.mutate(tmp_path)) == ("old.py", "if x > 1: pass")


def test_mutant_whose_text_stands_twice_does_not_apply(tmp_path):
    (tmp_path / "new.py").write_text("x < 1 or x < 1")
    with pytest.raises(DoesNotApply):
        Mutant("a", "Breaks.", "new.py", "x < 1", "x > 1", ()).for_sources(tmp_path)
