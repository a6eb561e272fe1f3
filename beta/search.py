"""Search sources: beta programmes and their participants."""

from django.utils.translation import gettext_lazy as _

from beta.models import BetaFeedback, BetaProgramme
from portal.desk.search import Source, ValueSource, sources

sources.register(Source(BetaProgramme, ("name", "product"), detail=lambda programme: programme.product))
sources.register(ValueSource(BetaFeedback, ("participant",), title=_("participants")))
