"""Take the screenshots of the README from a running demo.

    SECOND_FACTOR=optional make demo
    PASSWORD=... .venv/bin/python -m demo.screenshots

PASSWORD is the one that the demo printed. An argument names another address than http://127.0.0.1:8000.
"""

import os
import shutil
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import pymupdf
from playwright.sync_api import Page, sync_playwright

DIRECTORY = Path(__file__).parents[1] / "docs" / "screenshots"
# A page of the list, and the text of the link to follow there.
SHOTS = {
    "overview": ("/admin/", ""),
    "backups": ("/admin/backups/expectedbackupjob/", ""),
    "target": ("/admin/monitoring/target/", "Search"),
    "programme": ("/admin/beta/betaprogramme/", "spring-beta"),
}
SIZE = {"width": 1160, "height": 600}
Colour = tuple[int, ...]


def sign_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username or e-mail address").fill("operator")
    page.get_by_label("Password").fill(os.environ["PASSWORD"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/admin/")


def take(page: Page, name: str, path: str, link: str) -> None:
    page.goto(path)
    if link:
        page.locator("#result_list").get_by_role("link", name=link).first.click()
        page.wait_for_url("**/change/**")
    page.wait_for_load_state("networkidle")
    path = DIRECTORY / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    path.write_bytes(reduce_colours(pymupdf.Pixmap(path)))


def reduce_colours(picture: pymupdf.Pixmap) -> bytes:
    """Return the picture as a PNG of its 256 most frequent colours: about half the size, and nobody sees it."""
    pixels = [picture.samples[number :: picture.n] for number in range(3)]
    counts = Counter(zip(*pixels, strict=True))
    palette = [colour for colour, _count in counts.most_common(256)]
    places = {colour: find_nearest(colour, palette) for colour in counts}
    indices = bytes(places[colour] for colour in zip(*pixels, strict=True))
    lines = (b"\0" + indices[start : start + picture.width] for start in range(0, len(indices), picture.width))
    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 3, 0, 0, 0)
    parts = {b"IHDR": head, b"PLTE": bytes(sum(palette, ())), b"IDAT": zlib.compress(b"".join(lines), 9), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in parts.items())


def find_nearest(colour: Colour, palette: list[Colour]) -> int:
    """Return the place of the nearest colour."""
    distances = [sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)) for other in palette]
    return distances.index(min(distances))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main(address: str = "http://127.0.0.1:8000") -> None:
    DIRECTORY.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(base_url=address, viewport=SIZE, locale="en-GB")  # type: ignore[arg-type]
        sign_in(page)
        for name, (path, link) in SHOTS.items():
            take(page, name, path, link)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
