"""Count the pages of a document without ever disturbing the host program."""

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
    """Return the number of pages of the document at `path`, or None if it is unknown. Never raises.

    The extension alone decides: the pages of a PDF or a TIFF are counted, any other image is 1, anything else is None.
    The count is unknown for an encrypted, truncated or broken PDF, and for all PDFs without PyMuPDF, which is logged
    once. A PDF without pages has 0.
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
