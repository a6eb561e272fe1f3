"""Base views of the API: permissions, one way to read bodies, one shape of refusals."""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.views import APIView

from portal.access.roles import is_allowed
from portal.access.tokens.authentication import BearerAuthentication, TokenBearer
from portal.api.bodies import BY_TOKEN, Limits, read_json_object
from portal.api.errors import problem_response
from portal.base.problems import Problem
from portal.models import ApiToken

Kind = ApiToken.Kind


def request_token(request: Request) -> Any:
    """The ApiToken the request shows, or None where a session speaks. DRF's stubs take it for its own Token."""
    return request.auth


class ApiView(APIView):
    """A call that says which kinds of token it takes and, for staff, which permission of Django's it asks for."""

    permission_classes = ()  # `refuse_unfit` is the one rule
    kinds: ClassVar[frozenset[str]] = frozenset()
    staff_permission: ClassVar[str] = ""
    enroll_scope: ClassVar[str] = ""
    limits: ClassVar[Limits] = BY_TOKEN
    # Codes of the refusals that this call has beside those of every call, for the schema.
    refusals: ClassVar[Sequence[str]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        translation.activate("en")  # the documented sentences, whatever Accept-Language says
        super().initial(request, *args, **kwargs)

    def body(self, request: Request) -> dict[str, Any]:
        """The body as one JSON object, read as everywhere: DRF would take a chunked one for none. Raises Problem."""
        return read_json_object(request._request, self.limits)

    def check_permissions(self, request: Request) -> None:
        self.refuse_unfit(request.user, request_token(request))

    def refuse_unfit(self, user: Any, token: ApiToken | None) -> None:
        """Raises Problem unless this call is for this caller."""
        if token is None and not user.is_authenticated:
            raise Problem("not_authenticated")
        kind = token.kind if token is not None else Kind.STAFF
        if kind not in self.kinds:
            raise Problem("insufficient_scope")
        if token is not None and kind == Kind.ENROLL and self.enroll_scope and not token.allows(self.enroll_scope):
            raise Problem("insufficient_scope")
        if kind == Kind.STAFF and not (user.is_staff and is_allowed(user, self.staff_permission)):
            raise Problem("permission_denied")


class HotView(ApiView, abc.ABC):
    """A call made thousands of times a minute: the same rules without DRF's request, negotiation and rendering.

    A subclass answers `post(body, token)` with status and body. Machines and applications alone call it, so the
    session is never looked at.
    """

    @method_decorator(csrf_exempt)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        translation.activate("en")
        try:
            status, body = self.answer(request)
        except Exception as error:  # as_problem() sorts them, and logs those nobody foresaw
            return problem_response(error, request)
        return JsonResponse(body, status=status)

    def answer(self, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        """Return status and body. Raises Problem."""
        token = self.bearer().authenticate_request(request)
        if token is None:
            raise Problem("not_authenticated")
        self.refuse_unfit(TokenBearer(), token)
        refuse_but_post(request)
        return self.post(read_json_object(request, self.limits), token)

    def bearer(self) -> BearerAuthentication:
        bearer: type[Any] = self.authentication_classes[0]
        return cast(BearerAuthentication, bearer())

    @abc.abstractmethod
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer. Raises Problem."""


def refuse_but_post(request: HttpRequest) -> None:
    if request.method != "POST":
        raise Problem("method_not_allowed", headers={"Allow": "POST"})
