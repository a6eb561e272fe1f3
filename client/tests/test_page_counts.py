from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from vigie_client import page_count_for

pymupdf = pytest.importorskip("pymupdf")


def write_pdf(path: Path, pages: int = 3, **how: Any) -> Path:
    with pymupdf.open() as document:
        for _ in range(pages):
            document.new_page()
        document.save(path, **how)
    return path


def test_it_counts_the_pages_of_a_pdf(tmp_path: Path) -> None:
    assert page_count_for(write_pdf(tmp_path / "a.pdf", 3)) == 3


@pytest.mark.parametrize("kind", [str, bytes, Path])
def test_it_takes_the_path_in_any_form(tmp_path: Path, kind: type) -> None:
    assert page_count_for(kind(write_pdf(tmp_path / "a.PDF", 2))) == 2


def test_it_counts_a_pdf_that_only_its_owner_may_change(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", 3, encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner")
    assert page_count_for(path) == 3


def test_it_has_no_count_for_a_pdf_behind_a_password(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="user", owner_pw="owner")
    assert page_count_for(path) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_it_has_no_count_for_a_truncated_pdf(tmp_path: Path, share: float) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert page_count_for(path) is None


def test_it_counts_a_whole_pdf_whose_table_of_objects_is_wrong(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes().replace(b"startxref\n", b"startxref\n1"))
    assert page_count_for(path) == 3


def test_it_has_no_count_for_an_image_named_pdf(tmp_path: Path) -> None:
    pixmap = pymupdf.Pixmap(pymupdf.csRGB, (0, 0, 4, 4))
    (tmp_path / "a.pdf").write_bytes(pixmap.tobytes("png"))
    assert page_count_for(tmp_path / "a.pdf") is None


def test_it_prints_nothing_about_a_broken_pdf(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes().replace(b"startxref\n", b"startxref\n1"))
    page_count_for(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("displayed", [True, False])
def test_it_silences_pymupdf_only_while_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, displayed: bool
) -> None:
    during: list[bool] = []

    def look(_: str) -> None:
        during.append(bool(pymupdf.TOOLS.mupdf_display_errors()))
        raise ValueError

    monkeypatch.setattr(pymupdf, "open", look)
    before = pymupdf.TOOLS.mupdf_display_errors()
    pymupdf.TOOLS.mupdf_display_errors(displayed)
    page_count_for(tmp_path / "a.pdf")
    after = bool(pymupdf.TOOLS.mupdf_display_errors())
    pymupdf.TOOLS.mupdf_display_errors(before)
    assert (during, after) == ([False], displayed)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.tif", "a.TIFF", "a.bmp", "a.gif"])
def test_it_counts_an_image_as_one_page_without_looking_at_it(name: str) -> None:
    assert page_count_for(name) == 1


@pytest.mark.parametrize("path", ["a.docx", "pdf", ".pdf", "a.pdf.txt", "", None, 7, object(), b"\xff.doc", ["a.pdf"]])
def test_it_has_no_count_for_anything_else(path: Any) -> None:
    assert page_count_for(path, pdf_counter=lambda _: 5) is None


def test_a_document_without_pages_has_none_of_them() -> None:
    assert page_count_for("a.pdf", pdf_counter=lambda _: 0) == 0


@pytest.mark.parametrize("count", [True, False, -1, 2.0, "3", None, 2**31, float("nan")])
def test_it_believes_only_a_counter_that_gives_a_count(count: Any) -> None:
    assert page_count_for("a.pdf", pdf_counter=lambda _: count) is None


@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError, ImportError, OSError])
def test_it_survives_a_counter_that_raises(error: type[Exception]) -> None:
    def counter(_: Any) -> int:
        raise error

    assert page_count_for("a.pdf", pdf_counter=counter) is None


def test_it_survives_a_missing_pymupdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    monkeypatch.setitem(sys.modules, "pymupdf", None)
    monkeypatch.setitem(sys.modules, "fitz", None)
    assert page_count_for(path) is None
