"""Files for machines and applications below `/client/`: the client's wheel, and scripts that hold the portal's address.

Everybody may download them, since they contain no secret: a machine that is to be enrolled has no session.
"""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.connect.guides import file_sources, find_address
from portal.connect.wheel import build_wheel, wheel_name


def file_url(portal_url: str, name: str) -> str:
    return portal_url + reverse("client-file", args=[name])


def wheel_url(portal_url: str) -> str:
    return file_url(portal_url, wheel_name())


@require_safe
def client_file(request: HttpRequest, name: str) -> HttpResponse:
    if name == wheel_name():
        return HttpResponse(build_wheel(), content_type="application/zip")
    portal_url = find_address(request)
    for source in file_sources.all():
        files = source(portal_url)
        if name in files:
            return HttpResponse(files[name], content_type="text/plain; charset=utf-8")
    raise Http404
