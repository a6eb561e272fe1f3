"""Search sources: targets."""

from monitoring.models import Target
from portal.desk.search import Source, sources

sources.register(Source(Target, ("name", "url"), detail=lambda target: target.url))
