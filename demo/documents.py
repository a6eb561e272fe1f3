"""Make the documents that the fleet processes: real files, some of them broken."""

from __future__ import annotations

import random
from pathlib import Path

import pymupdf

# A PDF with an empty page tree, which no library writes.
ZERO_PAGES = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[]/Count 0>> endobj
trailer <</Root 1 0 R/Size 3>>
%%EOF
"""


def make_documents(folder: Path, rng: random.Random, count: int) -> list[Path]:
    """Make `count` files: mostly PDFs of 1 to 30 pages, some images, and documents that cannot be counted."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make_document(folder, rng, number) for number in range(count)]


def make_document(folder: Path, rng: random.Random, number: int) -> Path:
    kind = rng.choices(["pdf", "png", "docx"], weights=[8, 1, 1])[0]
    path = folder / f"document-{number}.{kind}"
    if kind == "pdf":
        write_pdf(path, rng.randint(1, 30))
    elif kind == "png":
        pymupdf.Pixmap(pymupdf.csRGB, pymupdf.IRect(0, 0, 40, 40), False).save(path)
    else:
        path.write_bytes(b"not counted")
    return path


def write_pdf(path: Path, pages: int, password: str = "") -> None:
    with pymupdf.open() as document:
        for number in range(pages):
            document.new_page().insert_text((72, 72), f"Page {number + 1} of {pages}")
        protection = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password, "owner_pw": password}
        document.save(path, **(protection if password else {}))


def make_broken_documents(folder: Path) -> list[Path]:
    """Make an encrypted PDF, a truncated one, and one without pages."""
    folder.mkdir(parents=True, exist_ok=True)
    encrypted, truncated, empty = (folder / f"{name}.pdf" for name in ("encrypted", "truncated", "empty"))
    write_pdf(encrypted, 5, password="secret")
    write_pdf(truncated, 9)
    truncated.write_bytes(truncated.read_bytes()[:200])
    empty.write_bytes(ZERO_PAGES)
    return [encrypted, truncated, empty]
