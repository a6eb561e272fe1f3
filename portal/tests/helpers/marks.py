"""Combining marks: Python's normalisation sorts those of one character in quadratic time."""

ACUTE, BELOW = "\u0301", "\u0316"
FEW_MARKS = "q" + ACUTE * 3
MANY_MARKS = "q" + (ACUTE + BELOW) * 300
