from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from client.tests.helpers.documents import CATALOG, PAGE, THREE_PAGES, body, pdf, tiff, tree

from vigie_client import page_count_for
from vigie_client.report import pdf_pages

pymupdf = pytest.importorskip("pymupdf")


def write_pdf(path: Path, pages: int = 3, **how: Any) -> Path:
    with pymupdf.open() as document:
        for _ in range(pages):
            document.new_page()
        document.save(path, **how)
    return path


def test_pages_of_a_pdf_are_counted(tmp_path: Path) -> None:
    assert page_count_for(write_pdf(tmp_path / "a.pdf", 3)) == 3


@pytest.mark.parametrize("kind", [str, bytes, Path])
def test_path_may_have_any_type(tmp_path: Path, kind: type) -> None:
    assert page_count_for(kind(write_pdf(tmp_path / "a.PDF", 2))) == 2


def test_pages_of_a_pdf_with_an_owner_password_are_counted(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", 3, encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner")
    assert page_count_for(path) == 3


def test_encrypted_pdf_has_no_count(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="user", owner_pw="owner")
    assert page_count_for(path) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_pdf_has_no_count(tmp_path: Path, share: float) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert page_count_for(path) is None


def test_complete_pdf_with_a_wrong_object_table_is_counted(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes().replace(b"startxref\n", b"startxref\n1"))
    assert page_count_for(path) == 3


def test_image_named_pdf_has_no_count(tmp_path: Path) -> None:
    pixmap = pymupdf.Pixmap(pymupdf.csRGB, (0, 0, 4, 4))
    (tmp_path / "a.pdf").write_bytes(pixmap.tobytes("png"))
    assert page_count_for(tmp_path / "a.pdf") is None


def test_broken_pdf_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    path.write_bytes(path.read_bytes().replace(b"startxref\n", b"startxref\n1"))
    page_count_for(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("displayed", [True, False])
def test_pymupdf_is_silenced_only_while_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, displayed: bool
) -> None:
    during: list[bool] = []

    def look(_: str) -> None:
        during.append(bool(pymupdf.TOOLS.mupdf_display_errors()))
        raise ValueError

    (tmp_path / "a.pdf").write_bytes(THREE_PAGES)
    monkeypatch.setattr(pymupdf, "open", look)
    before = pymupdf.TOOLS.mupdf_display_errors()
    pymupdf.TOOLS.mupdf_display_errors(displayed)
    page_count_for(tmp_path / "a.pdf")
    after = bool(pymupdf.TOOLS.mupdf_display_errors())
    pymupdf.TOOLS.mupdf_display_errors(before)
    assert (during, after) == ([False], displayed)


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.JPEG", "a.png", "a.bmp", "a.gif", "a.webp", "a.HEIC", "a.avif", "a.jp2", "a.j2k", "a.jpx"]
)
def test_image_is_one_page_without_being_opened(name: str) -> None:
    assert page_count_for(name) == 1


@pytest.mark.parametrize(
    ("content", "pages"),
    [
        (THREE_PAGES, 3),
        (THREE_PAGES + b"\0" * 1_100, 3),
        (THREE_PAGES + b"\0" * 5_245, 3),
        (THREE_PAGES + b"\r\n" * 1_000, 3),
        (THREE_PAGES + b"<!-- footer -->\n" * 100, 3),
        (THREE_PAGES.replace(b"startxref\n", b"startxref\n1") + b"\0" * 2_000, 3),
        (b"junk\n" * 400 + THREE_PAGES, 3),
        (tree(b"", b"3 0 R 4 0 R", PAGE, PAGE), 2),
        (tree(b"/Count 0", b"3 0 R 4 0 R", PAGE, PAGE), 2),
        (tree(b"/Count 5 0 R", b"3 0 R 4 0 R", PAGE, PAGE, b"(two)"), 2),
        (tree(b"/Count 999", b"3 0 R", PAGE), 1),
        (tree(b"/Count -1", b"3 0 R", PAGE), 1),
        (tree(b"/Count 2", b"9 0 R 3 0 R", PAGE), 1),
        (tree(b"/Count 2", b"null 3 0 R 4 0 R", PAGE, b"7"), 1),
        (tree(b"/Count 2", b"3 0 R 3 0 R", PAGE), 2),
        (tree(b"/Count 3", b"3 0 R 4 0 R", PAGE, b"<</Type/Pages/Kids 5 0 R/Count 2>>", b"[3 0 R 6 0 R]", PAGE), 3),
        (tree(b"/Count 0", b""), 0),
        (tree(b"/Count 1", b"2 0 R"), None),
        (tree(b"/Count 1", b"3 0 R", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"), None),
        (pdf(CATALOG, b"<</Type/Page/MediaBox[0 0 9 9]>>"), None),
        (pdf(CATALOG, b"<</Type/Pages/Count 0>>"), None),
        (pdf(CATALOG, b"<</Type/Pages/Kids 7/Count 1>>"), None),
        (pdf(b"<</Type/Catalog/Pages 9 0 R>>"), None),
        (body(CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE)[0] + b"trailer\n<</Root 1 0 R>>\n", None),
        (THREE_PAGES[: THREE_PAGES.index(b"5 0 obj")] + b"5 0 obj\n<\n%%EOF\n", None),
        (b"<html></html>" * 200, None),
        (b"", None),
    ],
)
def test_page_tree_decides_the_count_of_a_pdf(tmp_path: Path, content: bytes, pages: Any) -> None:
    (tmp_path / "a.pdf").write_bytes(content)
    assert page_count_for(tmp_path / "a.pdf") == pages


def test_file_name_that_is_not_utf_8_is_counted(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/fa\xe7ade.pdf"
    try:
        with open(path, "wb") as file:
            file.write(THREE_PAGES)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert page_count_for(path) == page_count_for(os.fsdecode(path)) == 3


def test_huge_file_without_an_end_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymupdf, "open", lambda *_: pytest.fail("opened"))
    with open(tmp_path / "a.pdf", "wb") as file:
        file.write(THREE_PAGES)
        file.truncate(2**31)
    assert page_count_for(tmp_path / "a.pdf") is None


def test_large_file_with_its_end_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_pages, "MAX_REPAIR_BYTES", 100)
    (tmp_path / "a.pdf").write_bytes(THREE_PAGES + b"\0" * 2_000)
    assert page_count_for(tmp_path / "a.pdf") == 3
    (tmp_path / "a.pdf").write_bytes(THREE_PAGES.replace(b"startxref\n", b"startxref\n1"))
    assert page_count_for(tmp_path / "a.pdf") is None


def test_slow_walk_has_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_pages, "WALK_SECONDS", -1.0)
    (tmp_path / "a.pdf").write_bytes(THREE_PAGES)
    assert page_count_for(tmp_path / "a.pdf") is None


def test_long_walk_releases_pymupdf_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kids = b" ".join([b"3 0 R"] * 1_000)
    (tmp_path / "a.pdf").write_bytes(tree(b"/Count 1000", kids, PAGE))
    lock = CountingLock()
    monkeypatch.setattr(pdf_pages._pymupdf_lock, "lock", lock)
    assert page_count_for(tmp_path / "a.pdf") == 1_000
    assert lock.taken >= 1_000 // 256


class CountingLock:
    def __init__(self) -> None:
        self.taken = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.taken += 1
        self._lock.acquire()

    def __exit__(self, *_: Any) -> None:
        self._lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_child_forked_during_a_count_can_count(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(THREE_PAGES)
    with pdf_pages._pymupdf_lock.lock:
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            os._exit(page_count_for(tmp_path / "a.pdf") or 0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
@pytest.mark.parametrize("name", ["a.pdf", "a.tif"])
def test_pipe_named_like_a_document_does_not_block(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert page_count_for(tmp_path / name) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("kinds", "pages"), [((2, 2, 2, 2), 4), ((0,), 1), ((0, 1), 1), ((2, 4, 2), 2), ((0, 1, 0, 1), 2), ((1,), None)]
)
def test_tiff_pages_exclude_thumbnails_and_masks(tmp_path: Path, order: str, big: bool, kinds: Any, pages: Any) -> None:
    (tmp_path / "a.TIFF").write_bytes(tiff(*kinds, order=order, big=big))
    assert page_count_for(tmp_path / "a.TIFF") == pages


@pytest.mark.parametrize(
    "content", [b"", b"II*", b"II*\0\x08\0\0\0", tiff(0, 0)[:-3], tiff(0, last=8), tiff(0, last=2**31), b"PNG" * 99]
)
def test_broken_tiff_has_no_count(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    assert page_count_for(tmp_path / "a.tif") is None
    assert page_count_for(tmp_path / "absent.tif") is None


@pytest.mark.parametrize("path", ["a.docx", "pdf", ".pdf", "a.pdf.txt", "", None, 7, object(), b"\xff.doc", ["a.pdf"]])
def test_other_documents_have_no_count(path: Any) -> None:
    assert page_count_for(path, pdf_counter=lambda _: 5) is None


def test_pdf_without_pages_has_0() -> None:
    assert page_count_for("a.pdf", pdf_counter=lambda _: 0) == 0


@pytest.mark.parametrize("count", [True, False, -1, 2.0, "3", None, 2**31, float("nan")])
def test_result_that_is_not_a_count_is_unknown(count: Any) -> None:
    assert page_count_for("a.pdf", pdf_counter=lambda _: count) is None


@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError, ImportError, OSError])
def test_raising_counter_has_no_count(error: type[Exception]) -> None:
    def counter(_: Any) -> int:
        raise error

    assert page_count_for("a.pdf", pdf_counter=counter) is None


def test_missing_pymupdf_gives_no_count_and_one_log_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_pdf(tmp_path / "a.pdf")
    monkeypatch.setattr(pdf_pages, "_logged_missing", set())
    monkeypatch.setitem(sys.modules, "pymupdf", None)
    monkeypatch.setitem(sys.modules, "fitz", None)
    assert [page_count_for(path), page_count_for(path)] == [None, None]
    (record,) = caplog.records
    assert "PyMuPDF isn't installed" in record.getMessage()
