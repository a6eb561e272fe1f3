"""A4 pages of HTML parts and charts, one below the other, with a footer on each page."""

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

# The web server has several threads, and MuPDF is not thread-safe.
LOCK = threading.Lock()

PAPER = pymupdf.paper_rect("a4")
MARGIN, FOOTER = 40.0, 14.0
BOTTOM = PAPER.height - MARGIN - FOOTER
ABOVE_CHART = 8.0
# A section begins on a new page if less than this is left and it does not fit.
MIN_SECTION_HEIGHT = 80.0
# Shortened texts never take as many; a layout that does not terminate does.
MAX_PAGES = 20
QUIET = (0.36, 0.40, 0.45)


@dataclass(frozen=True)
class Chart:
    """A drawing over the whole width. Lengths are in points."""

    height: float
    draw: Callable[[Any, Any], None]


class TooManyPages(Exception):
    """The layout takes more than MAX_PAGES, or does not terminate."""


@dataclass(frozen=True)
class Layer:
    """One layer of a page: a chart with its rectangle, else the next story page."""

    page: int
    chart: Chart | None = None
    place: Any = None


class Pages:
    """Pages in the making. Copied text comes in the order of the layers."""

    def __init__(self, css: str) -> None:
        self.css = css
        self.stream = io.BytesIO()
        self.writer = pymupdf.DocumentWriter(self.stream)
        self.layers: list[Layer] = []
        self.page, self.top = 0, MARGIN

    def start_page(self) -> None:
        if self.page + 1 == MAX_PAGES:
            raise TooManyPages
        self.page, self.top = self.page + 1, MARGIN

    @property
    def remaining(self) -> Any:
        """The rectangle that is left of the page."""
        return pymupdf.Rect(MARGIN, self.top, PAPER.width - MARGIN, BOTTOM)

    def add_html(self, html: str) -> None:
        # MuPDF decodes HTML entities twice: "&amp;#8238;" would reverse the text behind it.
        story = pymupdf.Story(html.replace("&amp;", "&amp;amp;"), user_css=self.css)
        more, filled = story.place(self.remaining)
        if more and self.remaining.height < MIN_SECTION_HEIGHT:
            self.start_page()
            story.reset()
            more, filled = story.place(self.remaining)
        self.draw_story(story)
        while more:
            self.start_page()
            more, filled = story.place(self.remaining)
            self.draw_story(story)
        self.top = filled[3]

    def draw_story(self, story: Any) -> None:
        story.draw(self.writer.begin_page(PAPER))
        self.writer.end_page()
        self.layers.append(Layer(self.page))

    def add_chart(self, chart: Chart) -> None:
        if self.remaining.height < ABOVE_CHART + chart.height:
            self.start_page()
        place = self.remaining
        place.y0 += ABOVE_CHART
        place.y1 = self.top = place.y0 + chart.height
        self.layers.append(Layer(self.page, chart, place))

    def assemble(self) -> Any:
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


def make_pdf(parts: Sequence[str | Chart], css: str, footer: str, about: dict[str, str], language: str) -> bytes:
    """Return the PDF, with `about` as its metadata. Raises TooManyPages."""
    with LOCK, lay_out(parts, css) as document:
        for page in document:
            number_page(page, footer, f"{page.number + 1} / {document.page_count}")
        document.subset_fonts()
        for font in {font[0] for page in document for font in page.get_fonts(full=True)}:
            repair_text_mapping(document, font)
        document.set_metadata(about)
        document.set_language(language)
        document.xref_set_key(document.pdf_catalog(), "ViewerPreferences", "<</DisplayDocTitle true>>")
        made: bytes = document.tobytes(garbage=4, deflate=True, use_objstms=1, no_new_id=True)
        return made


def lay_out(parts: Sequence[str | Chart], css: str) -> Any:
    pages = Pages(css)
    for part in parts:
        if isinstance(part, Chart):
            pages.add_chart(part)
        else:
            pages.add_html(part)
    return pages.assemble()


def number_page(page: Any, left: str, right: str) -> None:
    font, size, line = pymupdf.Font("helv"), 7.5, PAPER.height - MARGIN
    writer = pymupdf.TextWriter(page.rect, color=QUIET)
    writer.append((MARGIN, line), left, font=font, fontsize=size)
    writer.append((PAPER.width - MARGIN - font.text_length(right, size), line), right, font=font, fontsize=size)
    writer.write_text(page)


# --- Copying text -------------------------------------------------------------------------------------------------

# An entry of a ToUnicode table: `<glyph> <character>` or `<first glyph> <last glyph> <first character>`. MuPDF writes
# characters beyond U+FFFF in a form that readers do not know, and letters as their presentation forms.
ENTRY = re.compile(rb"^(<([0-9a-f]{4})>(?: <([0-9a-f]{4})>)?) <([0-9a-f]{4,6})>$", re.MULTILINE)
UNMAPPABLE = re.compile(rb"[0-9a-f]{5,6}|f[b-e][0-9a-f]{2}")
# `uni0644.init`, the name of a glyph that is a form of one or several letters.
GLYPH_NAME = re.compile(r"uni((?:[0-9A-F]{4})+)(?:\.|$)")
END = b"endcmap"
# Characters of one glyph.
LONGEST_LIGATURE = 64


def repair_text_mapping(document: Any, font: int) -> None:
    """Make emoji, and words in scripts whose letters have several forms, searchable and copyable."""
    kind, value = document.xref_get_key(font, "ToUnicode")
    if kind != "xref":
        return
    number = int(value.split()[0])
    table = document.xref_stream(number)
    added = missing_entries(pymupdf.Font(fontbuffer=document.extract_font(font)[3]), mapped_glyphs(table))
    document.update_stream(number, ENTRY.sub(repair_entry, table).replace(END, added + END))


def mapped_glyphs(table: bytes) -> set[int]:
    return {
        glyph
        for _all, first, last, _character in ENTRY.findall(table)
        for glyph in range(int(first, 16), int(last or first, 16) + 1)
    }


def repair_entry(entry: re.Match[bytes]) -> bytes:
    glyphs, first, last, character = entry.groups()
    if not UNMAPPABLE.fullmatch(character):
        return entry[0]
    start, count = int(character, 16), int(last or first, 16) - int(first, 16) + 1
    characters = b" ".join(encode_characters(chr(code)) for code in range(start, start + count))
    return glyphs + (b" [%s]" if last else b" %s") % characters


def missing_entries(font: Any, known: set[int]) -> bytes:
    """Return entries for the glyphs that are known only by name."""
    names = ((glyph, glyph_name(font.this, glyph)) for glyph in range(font.glyph_count) if glyph not in known)
    found = ((glyph, GLYPH_NAME.match(name)) for glyph, name in names)
    entries = [
        b"<%04x> %s" % (glyph, encode_characters(bytes.fromhex(name[1]).decode("utf-16-be")))
        for glyph, name in found
        if name
    ]
    blocks = (entries[start : start + 100] for start in range(0, len(entries), 100))  # more than 100 are not allowed
    return b"".join(b"%d beginbfchar\n%s\nendbfchar\n" % (len(block), b"\n".join(block)) for block in blocks)


def encode_characters(characters: str) -> bytes:
    return b"<%s>" % normalize_text(characters, "NFKC", longest=LONGEST_LIGATURE).encode("utf-16-be").hex().encode()
