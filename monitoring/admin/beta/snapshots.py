"""The reports that were kept: read only, as they were."""
