from django.http import HttpRequest, JsonResponse
from django.urls import path

from portal.urls import handler400, handler404, handler500
from portal.urls import urlpatterns as portal_urls

__all__ = ["handler400", "handler404", "handler500", "urlpatterns"]


def bare(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


urlpatterns = [path("bare", bare), *portal_urls]
