"""Accounts: invitations, first passwords, and the pages of a signed-in user."""
