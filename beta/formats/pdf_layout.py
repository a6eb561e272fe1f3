"""Sheets of A4 paper: parts made of HTML and charts between them, one below the other, with a footer on each."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pymupdf
from pymupdf.mupdf import fz_get_glyph_name2 as glyph_name

from portal.base.text import normalize_text

# The web server answers from several threads, and two that are in MuPDF together corrupt one another's memory.
LOCK = threading.Lock()

PAPER = pymupdf.paper_rect("a4")
MARGIN, FOOTER = 40.0, 14.0
BOTTOM = PAPER.height - MARGIN - FOOTER
ABOVE_CHART = 8.0
# A section does not begin where less than this is left of a page, if it cannot end there too.
LEAST = 80.0
# Texts that are cut short never take as many; a layout that never ends does.
MOST_PAGES = 20
QUIET = (0.36, 0.40, 0.45)


@dataclass(frozen=True)
class Chart:
    """Something drawn over the whole width; lengths are in points."""

    height: float
    draw: Callable[[Any, Any], None]


class TooLong(Exception):
    """The layout takes more pages than anybody reads, or has no end."""


@dataclass(frozen=True)
class Layer:
    """What stands on a page: the chart at its place, or where there is none the next of what stories drew."""

    page: int
    chart: Chart | None = None
    place: Any = None


class Pages:
    """Pages under way, in layers: text that is copied comes in the order in which it is laid down."""

    def __init__(self, css: str) -> None:
        self.css = css
        self.stream = io.BytesIO()
        self.writer = pymupdf.DocumentWriter(self.stream)
        self.layers: list[Layer] = []
        self.page, self.top = 0, MARGIN

    def turn(self) -> None:
        if self.page + 1 == MOST_PAGES:
            raise TooLong
        self.page, self.top = self.page + 1, MARGIN

    @property
    def left(self) -> Any:
        """What is left of the page."""
        return pymupdf.Rect(MARGIN, self.top, PAPER.width - MARGIN, BOTTOM)

    def add_html(self, html: str) -> None:
        # MuPDF reads what stands for a character twice: "&amp;#8238;" would turn the text behind it about.
        story = pymupdf.Story(html.replace("&amp;", "&amp;amp;"), user_css=self.css)
        more, filled = story.place(self.left)
        if more and self.left.height < LEAST:
            self.turn()
            story.reset()
            more, filled = story.place(self.left)
        self.lay(story)
        while more:
            self.turn()
            more, filled = story.place(self.left)
            self.lay(story)
        self.top = filled[3]

    def lay(self, story: Any) -> None:
        story.draw(self.writer.begin_page(PAPER))
        self.writer.end_page()
        self.layers.append(Layer(self.page))

    def add_chart(self, chart: Chart) -> None:
        if self.left.height < ABOVE_CHART + chart.height:
            self.turn()
        place = self.left
        place.y0 += ABOVE_CHART
        place.y1 = self.top = place.y0 + chart.height
        self.layers.append(Layer(self.page, chart, place))

    def bound(self) -> Any:
        self.writer.close()
        drawn, document = pymupdf.open("pdf", self.stream), pymupdf.open()
        for _number in range(self.page + 1):
            document.new_page(width=PAPER.width, height=PAPER.height)
        stories = count()
        for layer in self.layers:
            page = document[layer.page]
            if layer.chart:
                layer.chart.draw(page, layer.place)
            else:
                page.show_pdf_page(page.rect, drawn, next(stories))
        return document


def printed(parts: Sequence[str | Chart], css: str, footer: str, about: dict[str, str], language: str) -> bytes:
    """A PDF of as many pages as it takes; `about` are its metadata. Raises TooLong where that would never end."""
    with LOCK, laid_out(parts, css) as document:
        for page in document:
            number_page(page, footer, f"{page.number + 1} / {document.page_count}")
        document.subset_fonts()
        for font in {font[0] for page in document for font in page.get_fonts(full=True)}:
            mend_copying(document, font)
        document.set_metadata(about)
        document.set_language(language)
        document.xref_set_key(document.pdf_catalog(), "ViewerPreferences", "<</DisplayDocTitle true>>")
        made: bytes = document.tobytes(garbage=4, deflate=True, use_objstms=1, no_new_id=True)
        return made


def laid_out(parts: Sequence[str | Chart], css: str) -> Any:
    pages = Pages(css)
    for part in parts:
        if isinstance(part, Chart):
            pages.add_chart(part)
        else:
            pages.add_html(part)
    return pages.bound()


def number_page(page: Any, left: str, right: str) -> None:
    font, size, line = pymupdf.Font("helv"), 7.5, PAPER.height - MARGIN
    writer = pymupdf.TextWriter(page.rect, color=QUIET)
    writer.append((MARGIN, line), left, font=font, fontsize=size)
    writer.append((PAPER.width - MARGIN - font.text_length(right, size), line), right, font=font, fontsize=size)
    writer.write_text(page)


# --- What is copied -------------------------------------------------------------------------------------------------

# `<glyph> <character>` or `<first glyph> <last glyph> <first character>`. Of these MuPDF writes characters beyond the
# first 65,536 in a way that no reader knows, and letters by the forms they have within a word.
ENTRY = re.compile(rb"^(<([0-9a-f]{4})>(?: <([0-9a-f]{4})>)?) <([0-9a-f]{4,6})>$", re.MULTILINE)
UNREADABLE = re.compile(rb"[0-9a-f]{5,6}|f[b-e][0-9a-f]{2}")
# `uni0644.init`: what a glyph is called that is one form of a letter, or of several.
NAMED = re.compile(r"uni((?:[0-9A-F]{4})+)(?:\.|$)")
END = b"endcmap"
# Characters that one glyph stands for.
LONGEST_LIGATURE = 64


def mend_copying(document: Any, font: int) -> None:
    """Lets emoji be found and copied, and words of scripts whose letters change within a word."""
    kind, value = document.xref_get_key(font, "ToUnicode")
    if kind != "xref":
        return
    number = int(value.split()[0])
    table = document.xref_stream(number)
    added = forms_missing(pymupdf.Font(fontbuffer=document.extract_font(font)[3]), glyphs_in(table))
    document.update_stream(number, ENTRY.sub(mended, table).replace(END, added + END))


def glyphs_in(table: bytes) -> set[int]:
    return {
        glyph
        for _all, first, last, _character in ENTRY.findall(table)
        for glyph in range(int(first, 16), int(last or first, 16) + 1)
    }


def mended(entry: re.Match[bytes]) -> bytes:
    glyphs, first, last, character = entry.groups()
    if not UNREADABLE.fullmatch(character):
        return entry[0]
    start, count = int(character, 16), int(last or first, 16) - int(first, 16) + 1
    characters = b" ".join(written(chr(code)) for code in range(start, start + count))
    return glyphs + (b" [%s]" if last else b" %s") % characters


def forms_missing(font: Any, known: set[int]) -> bytes:
    """Entries for the glyphs that nothing is known of but their name."""
    names = ((glyph, glyph_name(font.this, glyph)) for glyph in range(font.glyph_count) if glyph not in known)
    found = ((glyph, NAMED.match(name)) for glyph, name in names)
    entries = [
        b"<%04x> %s" % (glyph, written(bytes.fromhex(name[1]).decode("utf-16-be"))) for glyph, name in found if name
    ]
    blocks = (entries[start : start + 100] for start in range(0, len(entries), 100))  # more than 100 are not allowed
    return b"".join(b"%d beginbfchar\n%s\nendbfchar\n" % (len(block), b"\n".join(block)) for block in blocks)


def written(characters: str) -> bytes:
    return b"<%s>" % normalize_text(characters, "NFKC", longest=LONGEST_LIGATURE).encode("utf-16-be").hex().encode()
