"""Outgoing calls to addresses that people enter. One guard decides which of them may be connected to."""
