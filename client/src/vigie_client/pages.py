"""How many pages a document has, or None: counting must never disturb the work that is counted."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any, Callable, Optional

from .payload import plain_int

PdfCounter = Callable[[Any], Optional[int]]

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif"})

# PyMuPDF is not safe to use from several threads, and its error display is a switch of the whole process.
_pymupdf_lock = threading.Lock()


def count_pdf_pages(path: Any) -> Optional[int]:
    """Pages of the PDF at `path` as PyMuPDF reads them; None when they can't be trusted.

    Raises whatever PyMuPDF raises, and ImportError without it (`pip install vigie-client[pdf]`).
    """
    pymupdf = _import_pymupdf()
    with _pymupdf_lock:
        displayed = pymupdf.TOOLS.mupdf_display_errors()
        pymupdf.TOOLS.mupdf_display_errors(False)
        try:
            with pymupdf.open(os.fsdecode(path)) as document:
                return None if _is_unreadable(document, path) else int(document.page_count)
        finally:
            pymupdf.TOOLS.mupdf_display_errors(displayed)


def page_count_for(path: Any, pdf_counter: PdfCounter = count_pdf_pages) -> Optional[int]:
    """Pages of the document at `path`: a PDF's count, 1 for an image, None for anything else. Never raises.

    Only the extension decides what the document is, whatever its case. A PDF that is encrypted, truncated or broken has
    no known count: None. One without pages has 0.
    """
    try:
        extension = os.path.splitext(os.fsdecode(path))[1].lower()
        if extension in IMAGE_EXTENSIONS:
            return 1
        return plain_int(pdf_counter(path)) if extension == ".pdf" else None
    except Exception:
        return None


def _import_pymupdf() -> Any:
    try:
        return importlib.import_module("pymupdf")
    except ModuleNotFoundError:
        return importlib.import_module("fitz")  # its name before 1.24


def _is_unreadable(document: Any, path: Any) -> bool:
    """PyMuPDF opens an image named .pdf, and repairs a truncated file into one with some of its pages."""
    return not document.is_pdf or bool(document.needs_pass) or (document.is_repaired and not _is_whole(path))


def _is_whole(path: Any) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 1024))
        return b"%%EOF" in file.read()
