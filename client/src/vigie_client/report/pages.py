"""How many pages a document has, or None: counting must never disturb the work that is counted."""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

from vigie_client.contract import wire_integer
from vigie_client.report.pdf_pages import count_pdf_pages
from vigie_client.report.tiff_pages import count_tiff_pages

PageCounter = Callable[[Any], Optional[int]]

TIFF_EXTENSIONS = frozenset({".tif", ".tiff"})
IMAGE_EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".heic", ".heif", ".avif",
        ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jxl",
    }
)  # fmt: skip


def page_count_for(path: Any, pdf_counter: PageCounter = count_pdf_pages) -> Optional[int]:
    """Pages of the document at `path`, or None where they are unknown. Never raises.

    Only the extension decides what the document is, whatever its case: a PDF and a TIFF have their pages, any other
    image is 1, anything else is None. A PDF with a password, truncated or broken, has no known count, and none has one
    without PyMuPDF, which one log line says. A PDF without pages has 0.
    """
    try:
        extension = os.path.splitext(os.fsdecode(path))[1].lower()
        if extension in IMAGE_EXTENSIONS:
            return 1
        if extension in TIFF_EXTENSIONS:
            return count_tiff_pages(path)
        return wire_integer(pdf_counter(path)) if extension == ".pdf" else None
    except Exception:
        return None
