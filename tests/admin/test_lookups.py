"""Queries that a list accepts: declared lookups, sortable columns, a search of limited length."""

import re
from html import unescape
from itertools import product

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import QueryDict
from django.urls import reverse

from portal.access.roles import VIEWER, synchronise_roles
from portal.access.tokens.issuing import issue_token
from portal.admin.base import GuardedAdmin
from portal.desk.matching import LONGEST_SEARCH
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db

ADMINS = {model._meta.label_lower: model_admin for model, model_admin in admin.site._registry.items()}
# Fields that links within the portal filter by, besides the filters that the lists offer.
LINKED = {
    "backups.backupentry": {"job"},
    "backups.drillassertion": {"job"},
    "backups.restoredrill": {"job"},
    "beta.betafeedback": {"source"},
    "beta.betasnapshot": {"programme"},
    "monitoring.checkresult": {"target"},
    "monitoring.incident": {"target"},
    "monitoring.target": {"beta_programme"},
    "portal.apitoken": {"user"},
}
LOOKUPS = ("", "__exact", "__startswith", "__istartswith", "__begins", "__contains", "__regex", "__iregex", "__gt", "__in", "__isnull")  # fmt: skip


def address(label, name="changelist", *args):
    return reverse(f"admin:{label.replace('.', '_')}_{name}", args=args)


@pytest.fixture
def viewer(client):
    synchronise_roles()
    user = User.objects.create_user("victor", is_staff=True)
    user.groups.add(Group.objects.get(name=VIEWER))
    client.force_login(user)
    return user


def test_every_model_admin_extends_the_guarded_base():
    assert [label for label, model_admin in ADMINS.items() if not isinstance(model_admin, GuardedAdmin)] == []


def test_only_declared_lookups_are_allowed(subtests):
    for label, model_admin in ADMINS.items():
        concrete = model_admin.model._meta.concrete_fields
        fields = {"pk"} | {name for field in concrete for name in (field.name, field.attname)}
        paths = {name + lookup for name, lookup in product(fields, LOOKUPS)}
        relations = [each for each in model_admin.model._meta.get_fields() if each.is_relation and each.related_model]
        paths |= {f"{field.name}__{other}" for field in relations for other in ("pk", "id__gt", "password__startswith")}
        filters = {filter_class.parameter_name for filter_class in model_admin.list_filter}
        allowed = {path for path in paths if model_admin.lookup_allowed(path, "1", None)}
        with subtests.test(label):
            assert allowed <= LINKED.get(label, set()) | filters
            assert set(model_admin.lookups) == LINKED.get(label, set())


def test_filter_value_is_never_used_as_a_lookup():
    """Expect each declared parameter to be a custom filter or a field compared by equality."""
    for label, model_admin in ADMINS.items():
        assert not any("__" in name for name in model_admin.lookups), label
        assert not any("__" in filter_class.parameter_name for filter_class in model_admin.list_filter), label


HIDDEN = [
    ("backups.backupentry", "report_name__regex"),
    ("portal.apitoken", "digest__startswith"),
    ("portal.notificationchannel", "secret__startswith"),
    ("agents.agent", "enrollment_id__startswith"),
    ("monitoring.target", "badge_key__contains"),
    ("portal.outboxmessage", "html__icontains"),
    ("beta.betaprogramme", "public_key"),
    ("agents.agent", "id"),
    ("agents.agent", "nonsense"),
    ("agents.agent", "status__nonsense"),
    ("auth.user", "password__startswith"),
    ("auth.user", "is_active__exact"),
]


def test_undeclared_lookup_is_400_in_lists_exports_and_actions(admin_client):
    action = {"action": "export_chosen", "index": 0, "select_across": 1, "_selected_action": 1}
    for label, lookup in HIDDEN:
        query = {lookup: "a"}
        calls = [admin_client.get(address(label), query), admin_client.post(address(label), action, query_params=query)]
        if not label.startswith("auth."):
            calls += [admin_client.get(address(label, name), query) for name in ("export", "export_xlsx")]
        assert {answer.status_code for answer in calls} == {400}, (label, lookup)


def test_undeclared_lookup_is_400_for_viewers_too(client, viewer):
    refused = [(label, lookup) for label, lookup in HIDDEN if not label.startswith("auth.")]
    assert {client.get(address(label), {lookup: "a"}).status_code for label, lookup in refused} == {400}


LIST = address("agents.agent")
BACK = f"{LIST}?e=1"


@pytest.mark.parametrize(
    "query",
    [{"q": "x" * (LONGEST_SEARCH + 1)}, {"q": "PC\0"}, {"status": "\0"}, {"p": "99999"}, {"p": "0"}, {"p": "-1"}],
    ids=["long search", "NUL", "NUL in a filter", "page", "page 0", "page -1"],
)
def test_invalid_query_redirects_to_the_list(admin_client, make_agent, query):
    for number in range(51):
        make_agent(f"PC-{number}")
    answer = admin_client.get(LIST, query)
    assert (answer.status_code, answer["Location"]) == (302, BACK)


@pytest.mark.parametrize("name", ["q", "status"])
def test_action_with_an_invalid_search_changes_nothing(admin_client, make_agent, name):
    machine = make_agent("PC-1")
    chosen = {"action": "export_chosen", "index": 0, "select_across": 1, "_selected_action": machine.pk}
    answer = admin_client.post(LIST, chosen, query_params={name: "\0"})
    assert (answer.status_code, answer["Location"]) == (302, BACK)
    assert admin_client.get(address("agents.agent", "export"), {name: "\0"}).status_code == 302
    assert not AuditEvent.objects.filter(action="admin.action").exists()


@pytest.mark.parametrize("page", ["9" * 5_000, "x", "", "\u0661"])
def test_invalid_page_number_shows_the_first_page(admin_client, agent, page):
    assert admin_client.get(LIST, {"p": page}).status_code == 200


@pytest.mark.parametrize("order", ["99", "-99", "9" * 5_000, "x", "-", ".", ".".join(["1"] * 5_000), "1.-1.1", "0"])
def test_order_by_an_unknown_column_is_ignored(admin_client, agent, order):
    assert admin_client.get(LIST, {"o": order}).status_code == 200


@pytest.mark.one_database("queries are built and not made", despite=("queryset",))
def test_query_sorts_only_by_sortable_columns(rf, admin_user):
    for model_admin in [each for each in ADMINS.values() if each.sortable_by is not None]:
        request = rf.get("/")
        request.user = admin_user
        usual = model_admin.get_changelist_instance(request).queryset.query.order_by
        sortable = model_admin.get_sortable_by(request)
        for number, column in enumerate(model_admin.get_list_display(request), start=1):
            request.GET = QueryDict(f"o={number}")
            order_by = model_admin.get_changelist_instance(request).queryset.query.order_by
            assert set(order_by) <= {*usual, "-pk"} or column in sortable, (model_admin, column)


def test_header_of_a_sortable_column_links_to_its_order(admin_client, rows):
    for label, sortable in [(label, each.sortable_by) for label, each in ADMINS.items() if each.sortable_by]:
        page = admin_client.get(address(label)).content.decode()
        heads = set(re.findall(r'<th scope="col" class="sortable column-(\w+)', page))
        assert heads == set(sortable), label


@pytest.mark.parametrize(
    ("query", "status"),
    [({"_popup": "1"}, 200), ({"_popup": "1", "_to_field": "id"}, 200), ({"_to_field": "machine_id"}, 400),
     ({"_to_field": "name"}, 400), ({"_to_field": "nonsense"}, 400), ({"_to_field": "tokens"}, 400),
     ({"_facets": "True"}, 200), ({"all": ""}, 200), ({"e": "1"}, 200)],
)  # fmt: skip
def test_popup_refers_to_rows_only_by_primary_key(admin_client, agent, query, status):
    assert admin_client.get(LIST, query).status_code == status


def test_only_the_primary_key_is_accepted_as_to_field(admin_client):
    fields = [field.name for field in User._meta.get_fields(include_hidden=True)]
    statuses = {name: admin_client.get(address("auth.user"), {"_to_field": name}).status_code for name in fields}
    assert statuses == dict.fromkeys(fields, 400) | {"id": 200}


def test_filters_preserved_by_a_form_are_not_applied(admin_client, agent):
    page = address("agents.agent", "change", agent.pk)
    assert admin_client.get(page, {"_changelist_filters": "user_email__regex=(a+)+$"}).status_code == 200


@pytest.mark.parametrize("value", ["1", "abc", "", "9" * 40, "-1", "1,2", "(a+)+$"])
def test_declared_lookup_accepts_any_value(admin_client, value):
    declared = [(label, lookup) for label, names in LINKED.items() for lookup in names]
    for (label, lookup), name in product(declared, ("changelist", "export")):
        answer = admin_client.get(address(label, name), {lookup: value})
        assert answer.status_code == 200 or answer["Location"].endswith("?e=1"), (label, lookup)


@pytest.mark.parametrize("chosen", ["abc", "9" * 40, "\0", "1.5", ""])
def test_action_on_an_impossible_key_is_refused(admin_client, agent, chosen):
    answer = admin_client.post(LIST, {"action": "revoke_tokens", "index": 0, "_selected_action": chosen})
    assert answer.status_code == 400
    assert not AuditEvent.objects.filter(action="admin.action").exists()


@pytest.mark.parametrize("term", ["", "PC", "\0", "x" * 100_000])
def test_autocomplete_is_refused_for_every_list(admin_client, term):
    query = {"app_label": "monitoring", "model_name": "target", "field_name": "beta_programme", "term": term}
    assert admin_client.get(reverse("admin:autocomplete"), query).status_code == 403


@pytest.mark.one_database("links of pages")
def test_every_link_to_a_list_uses_a_declared_lookup(admin_client, admin_user, rows):
    issue_token("staff", user=admin_user)
    pages = ["/admin/", *(address(label) for label in ADMINS)]
    pages += [address(label, "change", model_admin.model.objects.first().pk) for label, model_admin in ADMINS.items()]
    text = unescape("".join(admin_client.get(page).content.decode() for page in pages))
    links = set(re.findall(r'href="(/admin/[a-z]+/[a-z]+/\?[^"]+)"', text))
    named = {(".".join(link.split("/")[2:4]), name) for link in links for name in QueryDict(link.partition("?")[2])}
    assert {(label, name) for label, names in LINKED.items() for name in names} - named == set()
    assert {link for link in links if admin_client.get(link).status_code != 200} == set()
