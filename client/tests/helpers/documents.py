"""Make PDF and TIFF files, complete or broken in one way."""

from __future__ import annotations

import struct

CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"


def body(*objects: bytes) -> tuple[bytes, list[int]]:
    """Return the objects of a PDF, numbered from 1, and their positions."""
    data, places = b"%PDF-1.7\n", []
    for number, source in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n" % number + source + b"\nendobj\n"
    return data, places


def pdf(*objects: bytes) -> bytes:
    """Return a complete file, whose first object is the catalog."""
    data, places = body(*objects)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % size + b"".join(b"%010d 00000 n \n" % place for place in places)
    return data + table + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, len(data))


def tree(count: bytes, kids: bytes, *pages: bytes) -> bytes:
    return pdf(CATALOG, b"<</Type/Pages/Kids[" + kids + b"]" + count + b">>", *pages)


THREE_PAGES = tree(b"/Count 3", b"3 0 R 4 0 R 5 0 R", PAGE, PAGE, PAGE)


def tiff(*kinds: int, order: str = "<", big: bool = False, last: int = 0) -> bytes:
    """Return a TIFF with a directory for each kind (NewSubfileType). `last` is the next offset of the last one."""
    offset, count, entry = ("Q", "Q", "HHQI4x") if big else ("I", "H", "HHII")
    first = 16 if big else 8
    data = {"<": b"II", ">": b"MM"}[order]
    data += struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, first) if big else (42, first)))
    for place, kind in enumerate(kinds, 1):
        following = first + place * struct.calcsize(order + count + entry + offset)
        following = following if place < len(kinds) else last
        data += struct.pack(order + count + entry + offset, 1, 254, 4, 1, kind, following)
    return data
