"""The version, apart so that the build and the User-Agent read it without importing the rest."""

__version__ = "0.1.0"
