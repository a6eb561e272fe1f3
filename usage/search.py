"""Search sources: licences and customers."""

from django.utils.translation import gettext_lazy as _

from portal.desk.search import Source, ValueSource, sources
from usage.models import Licence

sources.register(
    Source(Licence, ("ref", "customer"), name=lambda licence: licence.ref, detail=lambda licence: licence.customer)
)
sources.register(ValueSource(Licence, ("customer",), title=_("customers")))
