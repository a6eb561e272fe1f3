"""Take the screenshots of the README from a running demo.

    SECOND_FACTOR=optional make demo
    PASSWORD=... .venv/bin/python -m demo.screenshots

PASSWORD is the one that the demo printed. An argument names another address than http://127.0.0.1:8000.
"""

import os
import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
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
    picture = Image.open(BytesIO(page.screenshot(animations="disabled")))
    # Half the size, and nobody sees it.
    picture.convert("RGB").quantize(256).save(DIRECTORY / f"{name}.png", optimize=True)


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
