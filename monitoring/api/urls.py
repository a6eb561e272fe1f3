"""Addresses below `/api/v1/monitoring/`."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
