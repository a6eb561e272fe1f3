"""What is held of a subject, and how it is exported and erased."""

from portal.privacy import own
from portal.privacy.holdings import Holding, Row, Table, holdings
from portal.privacy.subjects import Subject

__all__ = ["Holding", "Row", "Subject", "Table", "holdings", "own"]
