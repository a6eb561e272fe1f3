"""Reduce a user agent to the names of browser and system, so that nothing its sender wrote is kept."""

import re

# The first that matches: most browsers claim to be others too.
BROWSERS = (
    (re.compile(r"\bEdgA?/(\d{1,3})"), "Edge"),
    (re.compile(r"\bOPR/(\d{1,3})"), "Opera"),
    (re.compile(r"\bSamsungBrowser/(\d{1,3})"), "Samsung Internet"),
    (re.compile(r"\b(?:Firefox|FxiOS)/(\d{1,3})"), "Firefox"),
    (re.compile(r"\b(?:Chrome|CriOS)/(\d{1,3})"), "Chrome"),
    (re.compile(r"\bVersion/(\d{1,3})\S* (?:Mobile/\S+ )?Safari/"), "Safari"),
    (re.compile(r"\bvigie-client/(\d{1,3})"), "vigie-client"),
    (re.compile(r"\bpython-requests/(\d{1,3})"), "python-requests"),
    (re.compile(r"\bcurl/(\d{1,3})"), "curl"),
)
SYSTEMS = (
    (re.compile(r"\bWindows\b"), "Windows"),
    (re.compile(r"\bAndroid\b"), "Android"),
    (re.compile(r"\b(?:iPhone|iPad)\b"), "iOS"),
    (re.compile(r"\bMac OS X\b"), "macOS"),
    (re.compile(r"\bCrOS\b"), "ChromeOS"),
    (re.compile(r"\bLinux\b"), "Linux"),
)
LONGEST = 512


def summarize_user_agent(user_agent: str) -> str:
    """`Firefox 131, Linux`; empty for one that nobody here knows."""
    text = user_agent[:LONGEST]
    browser = next((f"{name} {found[1]}" for form, name in BROWSERS if (found := form.search(text))), "")
    system = next((name for form, name in SYSTEMS if form.search(text)), "")
    return ", ".join(part for part in (browser, system) if part)
