"""Token peppers: the keys under which token secrets are hashed, by version, so that one can be replaced.

`TOKEN_PEPPER` is one pepper, or several as `2:newer,1:older`: the highest version hashes new tokens, the others still
verify what they hashed. A pepper without a number is version 1.
"""

import re

from django.core.exceptions import ImproperlyConfigured

MIN_KEY_LENGTH = 32


def parse_peppers(text: str) -> dict[int, bytes]:
    """The peppers by version, newest first.

    Raises ImproperlyConfigured where a version stands twice or a pepper is short.
    """
    peppers: dict[int, bytes] = {}
    for part in text.split(","):
        version, pepper = re.fullmatch(r"(?:(\d{1,4}):)?(.*)", part.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
        if len(pepper) < MIN_KEY_LENGTH:
            raise ImproperlyConfigured(f"TOKEN_PEPPER must have at least {MIN_KEY_LENGTH} characters per version.")
        if int(version or 1) in peppers:
            raise ImproperlyConfigured(f"TOKEN_PEPPER names version {version or 1} twice.")
        peppers[int(version or 1)] = pepper.encode()
    return dict(sorted(peppers.items(), reverse=True))
