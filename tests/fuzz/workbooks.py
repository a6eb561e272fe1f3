"""Small hand-written workbooks: deterministic bytes, and cells of any kind."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

OFFICE = "http://schemas.openxmlformats.org"
MAIN, RELATIONS = f"{OFFICE}/spreadsheetml/2006/main", f"{OFFICE}/officeDocument/2006/relationships"
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
PARTS = {
    "[Content_Types].xml": f"""<Types xmlns="{OFFICE}/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml" ContentType="{TYPES}.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{TYPES}.worksheet+xml"/></Types>""",
    "_rels/.rels": f"""<Relationships xmlns="{OFFICE}/package/2006/relationships">
<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>""",
    "xl/_rels/workbook.xml.rels": f"""<Relationships xmlns="{OFFICE}/package/2006/relationships">
<Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>""",
    "xl/workbook.xml": f"""<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">
<sheets><sheet name="jobs" sheetId="1" r:id="rId1"/></sheets></workbook>""",
}
# What a hostile hand may put anywhere in a part.
SNIPPETS = [
    '<row r="9999999999">', '<c r="XFD1048576"><v>1</v></c>', '<c r="A0"/>', '<c r="ZZZZ1"/>', "<v>1e400</v>", "<v>-1</v>", "<v/>",
    '<!DOCTYPE a [<!ENTITY b "cccc">]>', "&b;", "&#0;", "]]>", "<f>1+1</f>", ' t="s"', ' t="d"', ' t="e"', ' s="99"', "\0", '"', ">",
    '<dimension ref="A1:XFD1048576"/>', "<extLst/>", ' r:id="rId9"', ' Target="../../x"', ' date1904="1"',
]  # fmt: skip
KINDS = ["inlineStr", "str", "n", "b", "d", "e", "s", "x"]


def xml_of(value: Any, kind: str) -> str:
    text = escape(ascii(value)[1:-1] if isinstance(value, str) and not value.isprintable() else str(value))
    if kind == "inlineStr":
        return f'<c t="inlineStr"><is><t>{text}</t></is></c>'
    return f"<c t={quoteattr(kind)}><v>{text}</v></c>"


@st.composite
def workbooks(draw: st.DrawFn, tables: st.SearchStrategy[list[list[Any]]], *, is_damaged: bool) -> bytes:
    """Draw a table as a workbook. A damaged one has cells of other kinds, and snippets in one of its parts."""
    lines = []
    for line in draw(tables):
        kinds = [
            draw(st.sampled_from(KINDS)) if is_damaged and draw(st.integers(0, 9)) == 0 else KINDS[0] for _ in line
        ]
        lines.append(f"<row>{''.join(map(xml_of, line, kinds))}</row>")
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    parts = PARTS | {"xl/worksheets/sheet1.xml": sheet}
    if is_damaged and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(parts)))
        first = draw(st.integers(0, len(parts[name])))
        parts[name] = (
            parts[name][:first] + draw(st.sampled_from(SNIPPETS)) + parts[name][first + draw(st.integers(0, 9)) :]
        )
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return output.getvalue()
