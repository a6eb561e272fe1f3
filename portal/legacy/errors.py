"""Refusals of whole files."""

from __future__ import annotations


class UnreadableFile(Exception):
    """Raised for a file that cannot be read, or not to its end. `code` is stable; the text follows the file's name.

    What was imported from its beginning stays.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
