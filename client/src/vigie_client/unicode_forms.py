"""Unicode normal forms of names."""

import unicodedata

LONGEST = 1024


def normalized(text: str, form: str = "NFC") -> str:
    """The normal form of the first LONGEST characters; more may take minutes, as marks are sorted in quadratic time."""
    return unicodedata.normalize(form, text[:LONGEST])  # type: ignore[arg-type]
