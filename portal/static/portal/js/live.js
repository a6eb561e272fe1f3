"use strict";
// Keeps the live part of a page up to date: see portal/desk/live.py. Whatever the reader is doing there comes first.

(function () {
  const EVERY = 12000;
  const DATED_AFTER = 12 * 3600 * 1000;
  const PARTS = ["live", "live-heading", "live-tools"];
  const [SIGNED_OUT, MOVED] = [401, 409];
  let etag = "";
  let asked = Date.now();
  let current = Date.now(); // when the server last said what the page should show
  let kept = null;

  const parts = () => PARTS.map((id) => document.getElementById(id)).filter(Boolean);
  const isLive = (event) => event.detail.target && event.detail.target.id === "live";

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

  const isBusy = () => document.querySelector("dialog[open]") !== null || parts().some(isInUse);

  function refresh() {
    const live = document.getElementById("live");
    if (!live || document.hidden) return;
    asked = Date.now();
    htmx.trigger(live, "refresh");
  }

  // What the server does not know: what is folded out, how far a table is scrolled, and which link has the focus. Each
  // is known by its row and by what it does: positions change as rows come and go.
  const FOCUSABLE = "a, button, summary, input, select, textarea";
  const words = (element) => (element ? element.textContent.replace(/\d+/g, "").trim() : "");
  const every = (selector) => parts().flatMap((part) => [...part.querySelectorAll(selector)]);

  function rowOf(element) {
    const row = element.closest("[data-key], tr");
    if (!row) return "";
    const [box, link] = [row.querySelector("input.action-select"), row.querySelector("a")];
    return row.dataset.key || (box && box.value) || (link && link.getAttribute("href")) || "";
  }

  function nameOf(element) {
    const form = element.form || null;
    const section = element.closest("section");
    return JSON.stringify([
      element.tagName,
      rowOf(element),
      words(section && section.querySelector("h2")),
      element.matches("summary, button") && words(element),
      element.getAttribute("href"),
      [element.name, element.value],
      form && form.getAttribute("action"),
      form && [...form.querySelectorAll("input[type=hidden]:not([name=csrfmiddlewaretoken])")].map((each) => each.value),
    ]);
  }

  function named(selector, name) {
    const same = every(selector).filter((element) => nameOf(element) === name);
    return same.length === 1 ? same[0] : null;
  }

  function keep() {
    const focused = document.activeElement;
    const isWithin = parts().some((part) => part.contains(focused));
    const state = {
      open: every("details > summary").map((each) => [nameOf(each), each.parentElement.open]),
      left: every(".scroll, .results").map((each) => [nameOf(each), each.scrollLeft]),
      focus: isWithin ? nameOf(focused) : "",
    };
    // htmx would give the focus to the element with the same id, and ids are numbered.
    if (isWithin) focused.blur();
    return state;
  }

  function restore(state) {
    state.open.forEach(function ([name, isOpen]) {
      const summary = named("details > summary", name);
      if (summary) summary.parentElement.open = isOpen;
    });
    state.left.forEach(function ([name, left]) {
      const box = left && named(".scroll, .results", name);
      if (box) box.scrollLeft = left;
    });
    if (!state.focus) return;
    const focused = named(FOCUSABLE, state.focus) || every("h2, h3")[0] || document.querySelector("h1");
    if (!focused.matches(FOCUSABLE)) focused.tabIndex = -1;
    focused.focus({ preventScroll: true });
  }

  // The banner of a page that is no longer kept up to date.
  function show(isStale, isSignedOut) {
    const banner = document.getElementById("stale");
    if (!banner) return;
    document.body.classList.toggle("stale", isStale);
    banner.hidden = !isStale;
    if (!isStale) return;
    const day = Date.now() - current > DATED_AFTER ? { day: "numeric", month: "long" } : {};
    const format = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: banner.dataset.zone, ...day };
    const text = new Intl.DateTimeFormat(document.documentElement.lang, format).format(current);
    const time = banner.querySelector("time");
    if (time.textContent !== text) time.textContent = text; // said once by screen readers
    banner.querySelector(".sign-in").hidden = !isSignedOut;
    banner.querySelector(".reload").hidden = isSignedOut;
  }

  // A single failure may be a restart; an answer that says why is certain.
  function fail(status) {
    const isCertain = status === SIGNED_OUT || status === MOVED;
    if (isCertain || Date.now() - current > 1.5 * EVERY) show(true, status === SIGNED_OUT);
  }

  function hasFilledOrEmptied(text) {
    const [, isEmpty] = text.match(/id="live" data-is-empty="(yes|no)"/) || [];
    return isEmpty !== undefined && isEmpty !== document.getElementById("live").dataset.isEmpty;
  }

  document.addEventListener("htmx:configRequest", function (event) {
    if (!isLive(event)) return;
    event.detail.timeout = EVERY;
    if (etag) event.detail.headers["If-None-Match"] = etag;
  });
  document.addEventListener("htmx:sendError", (event) => isLive(event) && fail(0));
  document.addEventListener("htmx:timeout", (event) => isLive(event) && fail(0));
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (!isLive(event)) return;
    const { xhr } = event.detail;
    const isPart = xhr.status === 200 && xhr.responseText.includes('id="live"');
    event.detail.shouldSwap = isPart && !isBusy();
    if (!isPart && xhr.status !== 304) return fail(xhr.status);
    current = Date.now();
    show(false, false);
    if (event.detail.shouldSwap && hasFilledOrEmptied(xhr.responseText)) {
      // The search box, the filters and the summary stand outside of the live part, and belong to a list with rows.
      // A reload would lose what is typed anywhere on the page.
      event.detail.shouldSwap = false;
      if (!isInUse(document.body)) location.reload();
      return;
    }
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
