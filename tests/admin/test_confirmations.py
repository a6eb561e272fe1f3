"""Every admin action that destroys or cuts off something asks first."""

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils.translation import override

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("attributes of functions")]

HARMFUL = ("delete", "revoke", "replace", "uninstall", "discard", "deactivate", "disable", "give_up")
# Actions that do not ask by `confirm_first`, with the reason.
UNASKED = {"delete_selected": "Django's own page asks, with numbers"}


def test_every_dangerous_action_asks_first(rf, admin_user):
    request = rf.get("/")
    request.user = admin_user
    unasked = set()
    for model, model_admin in admin.site._registry.items():
        for name, (action, _name, _text) in model_admin.get_actions(request).items():
            is_harmful = getattr(action, "dangerous", False) or any(word in name for word in HARMFUL)
            if is_harmful and not getattr(action, "asks_first", False):
                unasked.add("delete_selected" if name == "delete_selected" else f"{model._meta.label_lower}.{name}")
    assert unasked == set(UNASKED)


def test_button_of_an_action_that_asks_ends_in_an_ellipsis(rf, admin_user):
    request = rf.get("/")
    request.user = admin_user
    with override("en"):
        plain = [
            f"{model._meta.label_lower}.{name}"
            for model, model_admin in admin.site._registry.items()
            for name, (action, _name, text) in model_admin.get_actions(request).items()
            if getattr(action, "asks_first", False) and not str(text).endswith("…")
        ]
    assert plain == []


def test_deletion_of_chosen_rows_states_their_number(admin_client, admin_user, rf, rows):
    request = rf.get("/")
    request.user = admin_user
    deletable = [each for each in admin.site._registry.items() if "delete_selected" in each[1].get_actions(request)]
    assert deletable
    for model, model_admin in deletable:
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        keys = list(model._default_manager.values_list("pk", flat=True)[:2])
        page = admin_client.post(url, {"action": "delete_selected", "_selected_action": keys, "index": 0})
        counts = dict(page.context["model_count"])
        assert str(counts[model_admin.opts.verbose_name_plural]) == str(len(keys)), model
