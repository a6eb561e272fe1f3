"""Dates and times in French: written as in English, with French names of months."""

from portal.formats.en.formats import *  # noqa: F403
