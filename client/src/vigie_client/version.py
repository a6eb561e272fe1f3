"""The version, in a module of its own so that the build reads it without importing the rest."""

__version__ = "1.0"
