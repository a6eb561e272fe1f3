"""Privacy: the personal data of a subject, its export and its erasure."""

from portal.privacy import own, trail
from portal.privacy.registry import PersonalDataSource, PersonalDataTable, Row, personal_data
from portal.privacy.subjects import Subject

__all__ = ["PersonalDataSource", "PersonalDataTable", "Row", "Subject", "own", "personal_data", "trail"]
