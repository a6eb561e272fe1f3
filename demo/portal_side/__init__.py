"""Scripts of the demo that run in a process of the portal, with JSON or lines on standard input."""
