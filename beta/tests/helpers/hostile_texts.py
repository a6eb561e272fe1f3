"""What a hostile participant may say, as it stands in the database."""

MARKUP = "<b>bold</b> & <script>alert(1)</script> {{ name }} %s %(x)d"
FORMULA = "=cmd|' /C calc'!A0"
EMOJI = "👩‍👩‍👧 \U0001f600 fine"
RIGHT_TO_LEFT = "שלום עולם — مرحبا بالعالم"
BIDI = "\u202egnp.exe\u2066 \u2067x\u2069 \u202ay\u202c"
WAS_NUL = "NUL was here: \ufffd"
LINES = "one\ntwo\tthree\n\n-four"
LONG = "x" * 100_000
LONG_EMOJI = "\U0001f600" * 20_000  # two units of UTF-16 each
WITHOUT_BLANKS = "日本語の文章には空白がありませんので" * 20
FORMULAS = [FORMULA, "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", '=HYPERLINK("https://example.org")']
ALL = [MARKUP, *FORMULAS, EMOJI, RIGHT_TO_LEFT, BIDI, WAS_NUL, LINES, LONG, LONG_EMOJI, WITHOUT_BLANKS]
OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
