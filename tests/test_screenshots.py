"""The screenshots of the README: light enough to load at once."""

from __future__ import annotations

from demo.screenshots import DIRECTORY, SHOTS

LIMIT = 80_000


def test_each_screenshot_is_light():
    sizes = {name: (DIRECTORY / f"{name}.png").stat().st_size for name in SHOTS}
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
