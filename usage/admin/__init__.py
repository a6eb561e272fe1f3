"""The admin of usage: one module for what each list and page is about."""

from usage.admin import runs

__all__ = ["runs"]
