"""Signing in: forms, second factors, sessions, known devices, and limits on guessing."""
