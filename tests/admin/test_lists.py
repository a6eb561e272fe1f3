"""Every admin list: few queries, served by indexes, and safe."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.core.cache import cache
from django.db import connection
from django.db.models import UniqueConstraint
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.admin.base import GuardedAdmin, ReadOnlyAdmin, VigieModelAdmin
from portal.desk import matching, trigrams
from portal.models import AuditEvent

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

ADMINS = {model._meta.label_lower: model_admin for model, model_admin in admin.site._registry.items()}
OURS = {label: model_admin for label, model_admin in ADMINS.items() if isinstance(model_admin, VigieModelAdmin)}

# Two queries for session and user, one to count, one for the rows. More would be a query per row, or a second count.
# Expected backups: one for how many are protected, three for the last scans and those that run, two for what became of
# the rows shown.
# Targets: three for how all of them are and one for the last round; two for figures and bars of the rows shown, and one
# for what is in maintenance. Maintenance windows: one for what they name. Feedback: one for the programmes and one for
# the tags that its filters offer, and one for the tags of the rows shown. Programmes: two for what came since their
# figures were made. Licences: one for the months of the rows shown, and one for whether the list is short enough to be
# sorted by them.
QUERIES = dict.fromkeys(ADMINS, 4) | {
    "backups.expectedbackupjob": 10,
    "beta.betafeedback": 7,
    "beta.betaprogramme": 11,
    "monitoring.target": 11,
    "portal.auditevent": 5,
    "monitoring.maintenancewindow": 5,
    "usage.licence": 6,
    "usage.run": 5,
}


def indexed(model, field, *, in_order=True):
    """Return whether an index starts with the field; a prefix-search index (pattern ops) does not sort."""
    relation, _, rest = field.partition("__")
    if rest:
        return indexed(model._meta.get_field(relation).related_model, rest, in_order=in_order)
    if model._meta.get_field(field).unique:
        return True
    firsts = [
        index.fields[0].lstrip("-")
        for index in model._meta.indexes
        if index.fields and not index.condition and not (in_order and index.opclasses)
    ]
    firsts += [
        constraint.fields[0]
        for constraint in model._meta.constraints
        if isinstance(constraint, UniqueConstraint) and not constraint.condition
    ]
    return field in firsts


def address(label, name, *args):
    return reverse(f"admin:{label.replace('.', '_')}_{name}", args=args)


def test_list_takes_no_query_per_row(admin_client, rows, subtests):
    for label in ADMINS:
        cache.clear()  # of figures
        with subtests.test(label), CaptureQueriesContext(connection) as queries:
            assert admin_client.get(address(label, "changelist")).status_code == 200
            assert len(queries) == QUERIES[label], [query["sql"] for query in queries]


def test_list_has_columns_a_search_and_an_audit_trail(subtests):
    for label, model_admin in ADMINS.items():
        with subtests.test(label):
            assert model_admin.list_display != ("__str__",)
            assert model_admin.search_fields
            assert isinstance(model_admin, GuardedAdmin)


def test_default_order_is_served_by_an_index_or_computed_for_an_ordinary_table():
    first = {label: model_admin.ordering[0] for label, model_admin in ADMINS.items()}
    columns = {label: field.lstrip("-") for label, field in first.items() if isinstance(field, str)}
    assert [label for label, field in columns.items() if not indexed(ADMINS[label].model, field)] == []
    assert not any(ADMINS[label].is_log or ADMINS[label].is_large for label in first.keys() - columns.keys())


def test_sortable_columns_of_a_log_are_served_by_an_index():
    logs = {label: model_admin for label, model_admin in OURS.items() if model_admin.is_log}
    columns = [(label, field) for label, model_admin in logs.items() for field in model_admin.sortable_by]
    assert [(label, field) for label, field in columns if not indexed(OURS[label].model, field)] == []
    assert {"usage.run", "usage.featureusage", "backups.backupentry", "portal.auditevent"} <= set(logs)


def test_list_can_be_sorted_unless_it_is_a_log():
    others = {label for label, model_admin in OURS.items() if not model_admin.is_log}
    assert {label for label in others if not OURS[label].sortable_by} <= {"backups.expectedbackupjob"}


def test_every_sortable_column_sorts(admin_client, rows):
    for label, model_admin in OURS.items():
        for number, column in enumerate(model_admin.list_display, start=1):
            if getattr(column, "__name__", column) in model_admin.sortable_by:
                for order in (number, -number):
                    response = admin_client.get(address(label, "changelist"), {"o": order})
                    assert (response.status_code, label, column) == (200, label, column)
                    assert response.context["cl"].get_ordering_field_columns()


def test_search_is_by_fragment_and_by_prefix_only_where_an_index_serves_it(subtests):
    for label, model_admin in OURS.items():
        with subtests.test(label):
            others = [field for field in model_admin.search_fields if not field.endswith("__fragment")]
            assert all(field.endswith("__begins") for field in others)
            fields = [field.removesuffix("__begins") for field in others]
            assert all(indexed(model_admin.model, field, in_order=False) for field in fields)


def test_prefix_search_of_a_large_table_has_an_index_for_prefixes():
    """Of the OR of a search one condition without such an index makes PostgreSQL read all rows."""
    for label in [label for label in OURS if OURS[label].is_large]:
        model = OURS[label].model
        for field in [name.removesuffix("__begins") for name in OURS[label].search_fields if name.endswith("__begins")]:
            prefixed = [index.fields[0] for index in model._meta.indexes if "varchar_pattern_ops" in index.opclasses]
            assert field in prefixed or model._meta.get_field(field).unique, (label, field)


def test_filters_of_a_list_read_no_table(subtests):
    for label, model_admin in OURS.items():
        with subtests.test(label):
            assert model_admin.date_hierarchy is None
            assert model_admin.show_full_result_count is False
            assert model_admin.show_facets is admin.ShowFacets.NEVER
            assert all(hasattr(filter_class, "options") for filter_class in model_admin.list_filter)


def test_every_filter_and_every_page_is_200(admin_client, rows):
    pages = []
    for label, model_admin in OURS.items():
        for each in model_admin.list_filter:
            values = [*each.options, "nonsense"]
            pages += [(address(label, "changelist"), {each.parameter_name: value, "q": "PC"}) for value in values]
        first = model_admin.model.objects.first()
        pages += [(address(label, "change", first.pk), {}), (address(label, "export"), {})]
    assert [page for page in pages if admin_client.get(*page).status_code != 200] == []


@pytest.mark.one_database("forms")
def test_rows_written_by_the_portal_are_read_only(admin_client, rows, subtests):
    for label in [label for label in OURS if isinstance(OURS[label], ReadOnlyAdmin)]:
        with subtests.test(label):
            first = OURS[label].model.objects.first()
            assert admin_client.post(address(label, "change", first.pk), {}).status_code == 403
            assert admin_client.post(address(label, "delete", first.pk), {"post": "yes"}).status_code == 403
            if label not in ("portal.apitoken", "usage.guardianreport"):
                assert admin_client.get(address(label, "add")).status_code == 403
            assert "delete_selected" not in admin_client.get(address(label, "changelist")).content.decode()


@pytest.mark.one_database("markup")
def test_pages_have_no_inline_script_or_style_and_no_jquery(admin_client, rows):
    pages = ["/admin/", "/docs/api", "/nowhere"]
    for label, model_admin in ADMINS.items():
        pages += [address(label, "changelist"), address(label, "change", model_admin.model.objects.first().pk)]
    for path in pages:
        response = admin_client.get(path)
        text = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        scripts = re.findall(r"<script([^>]*)>", text)
        assert all("src=" in script or 'type="application/json"' in script for script in scripts), path
        assert path.startswith("/admin/auth/") or "jquery" not in text, path
        assert "'unsafe" not in response["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("pc-l", {"PC-LYON", "pc-lille"}), ("PC-L", {"PC-LYON", "pc-lille"}), ("yon", {"PC-LYON"}), ("ANT", {"PC-NANTES"}),
        ("yo", set()), ("PC", {"PC-LYON", "pc-lille", "PC-NANTES"}), ("lyon le", {"PC-LYON"}), ("lyon nantes", set()),
        ("legoff yon", {"PC-LYON"}), ("ÉLODIE", {"PC-NANTES"}), ("PC_", set()), ("%", set()), ("a\\b", set()),
    ],
)  # fmt: skip
def test_search_finds_fragments_and_short_beginnings_in_any_case(admin_client, make_agent, typed, found):
    for name, user in (("PC-LYON", "Marc LeGoff"), ("pc-lille", ""), ("PC-NANTES", "Élodie")):
        make_agent(name, user_name=user)
    response = admin_client.get(address("agents.agent", "changelist"), {"q": typed})
    assert {agent.machine_id for agent in response.context["cl"].queryset} == found


def test_search_is_limited_to_the_newest_rows_without_an_index(admin_client, make_agent, monkeypatch):
    monkeypatch.setattr(matching, "SEARCHED_ROWS", 2)
    monkeypatch.setattr(trigrams, "has_trigram_indexes", lambda: False)
    names = [make_agent(f"PC-LYON-{number}").machine_id for number in range(3)]
    response = admin_client.get(address("agents.agent", "changelist"), {"q": "lyon"})
    assert [agent.machine_id for agent in response.context["cl"].queryset] == names[:0:-1]


def test_row_action_requires_post_and_permission(client, admin_client, agent):
    url = address("agents.agent", "act", agent.pk, "revoke_tokens")
    assert admin_client.get(url, {"confirmed": "yes"}).status_code == 302
    assert not AuditEvent.objects.filter(action="agent.tokens_revoked").exists()
    assert admin_client.post(address("agents.agent", "act", agent.pk, "export_chosen")).status_code == 403
    assert admin_client.post(address("agents.agent", "act", 999, "revoke_tokens")).status_code == 404
