"""How the commands of monitoring print a report."""

from __future__ import annotations

from django.core.management.base import OutputWrapper


def print_bytes(stream: OutputWrapper, content: bytes) -> None:
    """As it is, whatever the encoding of the console; a stream of texts alone takes it as a text."""
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(content.decode(), ending="")
    else:
        buffer.write(content)
