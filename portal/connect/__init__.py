"""Connecting machines and applications: guides, the page that shows them, and the files that they download."""
