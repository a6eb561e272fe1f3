"""Count the pages of a TIFF file: its image directories, a linked list of offsets."""

from __future__ import annotations

import struct
import time
from typing import Any, BinaryIO, NamedTuple, Optional

from vigie_client.disk.durable import open_regular

MAX_SECONDS = 5.0
_NEW_SUBFILE_TYPE = 254
_REDUCED, _MASK = 1, 4
_MAX_ENTRIES = 65_535


class _Layout(NamedTuple):
    """Byte order, struct formats of an offset and of a directory's number of entries, and the size of an entry."""

    order: str
    offset: str
    entries: str
    entry_size: int


def count_tiff_pages(path: Any) -> Optional[int]:
    """Count the pages of the TIFF at `path` without thumbnails and masks. Return None for a broken or cyclic list.

    Raises OSError, ValueError or struct.error.
    """
    deadline = time.monotonic() + MAX_SECONDS
    with open_regular(path) as file:
        layout = _parse_header(file.read(8))
        if layout is None:
            return None
        file.seek(4 if layout.offset == "I" else 8)
        pages, visited = 0, set[int]()
        offset = _read_number(file, layout.order + layout.offset)
        while offset:
            if offset in visited or time.monotonic() > deadline:
                return None
            visited.add(offset)
            file.seek(offset)
            pages += _is_page(file, layout)
            offset = _read_number(file, layout.order + layout.offset)
    return pages or None


def _parse_header(head: bytes) -> Optional[_Layout]:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    version = struct.unpack(order + "H", head[2:4])[0]
    return {42: _Layout(order, "I", "H", 12), 43: _Layout(order, "Q", "Q", 20)}.get(version)


def _is_page(file: BinaryIO, layout: _Layout) -> bool:
    """Read a directory up to the offset of the next one. Return False for a thumbnail or a mask."""
    count = _read_number(file, layout.order + layout.entries)
    if not 0 < count <= _MAX_ENTRIES:
        raise ValueError
    entries = file.read(count * layout.entry_size)
    if len(entries) < count * layout.entry_size:
        raise ValueError
    for start in range(0, len(entries), layout.entry_size):
        if struct.unpack_from(layout.order + "H", entries, start)[0] == _NEW_SUBFILE_TYPE:
            value = start + layout.entry_size - struct.calcsize(layout.offset)
            return not struct.unpack_from(layout.order + "I", entries, value)[0] & (_REDUCED | _MASK)
    return True


def _read_number(file: BinaryIO, form: str) -> int:
    """Read the next number. Raises struct.error at the end of the file."""
    value: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value
