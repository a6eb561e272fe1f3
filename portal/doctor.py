"""The portal's own checks of the installation, by the convention `doctor`."""

from importlib import import_module

for name in ("configuration", "database", "work", "files", "versions", "servers"):
    import_module(f"portal.status.doctor.{name}")
