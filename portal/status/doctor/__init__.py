"""Checks of the installation for `manage.py doctor` and the page *System*."""
