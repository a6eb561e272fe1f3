"use strict";
// Keeps the live part of a page up to date: see portal/desk/live.py. Whatever the reader is doing there comes first.

(function () {
  const EVERY = 12000;
  const PARTS = ["live", "live-heading", "live-tools"];
  let etag = "";
  let asked = Date.now();
  let kept = null;

  const parts = () => PARTS.map((id) => document.getElementById(id)).filter(Boolean);

  function isChanged(field) {
    if (field.type === "hidden") return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.tagName === "SELECT") return [...field.options].some((each) => each.selected !== each.defaultSelected && each.index);
    return field.value !== field.defaultValue;
  }

  function isInUse(part) {
    const selection = getSelection();
    const focused = document.activeElement;
    return (
      (part.contains(focused) && focused.matches("input, textarea, select")) ||
      [...part.querySelectorAll("input, textarea, select")].some(isChanged) ||
      (!selection.isCollapsed && selection.containsNode(part, true))
    );
  }

  function refresh() {
    const live = document.getElementById("live");
    const isBusy = document.querySelector("dialog[open], input.action-select:checked") || parts().some(isInUse);
    if (!live || document.hidden || isBusy) return;
    asked = Date.now();
    htmx.trigger(live, "refresh");
  }

  // What the server does not know: what is folded out, how far a table is scrolled, and which link has the focus.
  const FOCUSABLE = "a, button, summary, input, select, textarea";
  function keep() {
    return parts().map((part) => ({
      id: part.id,
      open: [...part.querySelectorAll("details")].map((each) => each.open),
      left: [...part.querySelectorAll(".scroll, .results")].map((each) => each.scrollLeft),
      focus: [...part.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement),
    }));
  }

  function restore(all) {
    all.forEach(function (state) {
      const part = document.getElementById(state.id);
      if (!part) return;
      part.querySelectorAll("details").forEach((each, index) => (each.open = state.open[index] || false));
      part.querySelectorAll(".scroll, .results").forEach((each, index) => (each.scrollLeft = state.left[index] || 0));
      const focused = state.focus >= 0 && part.querySelectorAll(FOCUSABLE)[state.focus];
      if (focused) focused.focus({ preventScroll: true });
    });
  }

  const isLive = (event) => event.detail.target && event.detail.target.id === "live";

  document.addEventListener("htmx:configRequest", function (event) {
    if (isLive(event) && etag) event.detail.headers["If-None-Match"] = etag;
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (!isLive(event)) return;
    const { xhr } = event.detail;
    // A page without the part, such as the one to sign in, replaces nothing.
    event.detail.shouldSwap = xhr.status === 200 && xhr.responseText.includes('id="live"') && !parts().some(isInUse);
    if (event.detail.shouldSwap) {
      etag = xhr.getResponseHeader("ETag") || "";
      kept = keep();
    }
  });
  document.addEventListener("htmx:afterSwap", function () {
    if (!kept) return;
    restore(kept);
    kept = null;
    document.dispatchEvent(new Event("live:renewed"));
  });

  setInterval(refresh, EVERY);
  document.addEventListener("visibilitychange", () => Date.now() - asked >= EVERY && refresh());
})();
