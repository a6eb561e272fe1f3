"""The rules and the dashboard of `deploy/` use metrics that the portal has, in expressions that Prometheus can read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from django.utils import timezone

from portal.status.metrics import AllSources

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for app in ("portal", "agents", "usage", "backups", "monitoring", "beta")
    for path in (ROOT / app).rglob("*.py")
]
REGISTERED = re.compile(r'\b(counter|(?:single_)?gauge)\(\s*f?"([a-z0-9_{}]+)"')
[RULES] = yaml.safe_load((ROOT / "deploy/prometheus/vigie.rules.yml").read_text())["groups"]
BOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/vigie.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES["rules"]} | {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}

# The functions of Prometheus's templates that take a number.
FUNCTIONS = {"humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "toTime"}
EXPANSION = re.compile(r"\{\{ *(?:\$value|\$labels\.(\w+))(?: *\| *(\w+))? *\}\}")


def known_metrics() -> set[str]:
    """Return the names that the modules register, as they are on the wire."""
    found = set()
    for path in SOURCES:
        if "tests" not in path.parts and "metric_sources" in (text := path.read_text(encoding="utf-8")):
            found |= {f"vigie_{name}{'_total' * (kind == 'counter')}" for kind, name in REGISTERED.findall(text)}
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expression_is_readable_and_names_metrics_of_the_portal(expression: str) -> None:
    promql_parser.parse(expression)
    assert set(re.findall(r"\b(?:vigie_\w+|up)\b", expression)) <= known_metrics() | {"up"}


def test_every_rule_says_how_grave_it_is_and_what_happened() -> None:
    assert {rule["labels"]["severity"] for rule in RULES["rules"]} == {"warning", "critical"}
    assert all(rule["annotations"]["summary"] for rule in RULES["rules"])


@pytest.mark.django_db
@pytest.mark.one_database("the labels are the same")
def test_summaries_of_rules_use_labels_of_their_metrics_and_functions_of_prometheus() -> None:
    labels = {family.name: set(family._labelnames) for family in AllSources(timezone.now()).collect()}  # type: ignore[attr-defined]
    used = set()
    for rule in RULES["rules"]:
        summary = rule["annotations"]["summary"]
        assert "{{" not in EXPANSION.sub("", summary)
        for label, function in EXPANSION.findall(summary):
            assert not function or function in FUNCTIONS
            if label:
                (metric,) = re.findall(r"\bvigie_\w+", rule["expr"])
                assert label in labels[metric], rule["alert"]
                used.add(label)
    assert len(used) > 3


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
