"""The screenshots of the README: light enough to load at once."""

from __future__ import annotations

import pymupdf

from demo.screenshots import DIRECTORY, SHOTS, reduce_colours

LIMIT = 80_000


def test_each_screenshot_is_light():
    sizes = {name: (DIRECTORY / f"{name}.png").stat().st_size for name in SHOTS}
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}


def test_picture_of_few_colours_keeps_its_pixels():
    picture = pymupdf.Pixmap(pymupdf.csRGB, 4, 3, bytes(range(36)), False)
    reduced = pymupdf.Pixmap(pymupdf.csRGB, pymupdf.Pixmap(reduce_colours(picture)))
    assert (reduced.width, reduced.height, reduced.samples) == (4, 3, picture.samples)
