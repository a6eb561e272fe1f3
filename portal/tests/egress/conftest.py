"""Fixtures of outgoing calls."""

from portal.tests.helpers.stores import bucket as bucket
from portal.tests.helpers.stores import locked_bucket as locked_bucket
from portal.tests.helpers.stores import s3_port as s3_port
