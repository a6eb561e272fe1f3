"use strict";
// The frame of every page: keys, menus that close, and the time zone of this device.

(function () {
  const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

  // "/" goes to the search box.
  document.addEventListener("keydown", function (event) {
    const box = document.getElementById("search-box") || document.getElementById("searchbar");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || !box || isTyping(event.target)) return;
    event.preventDefault();
    box.focus();
    box.select();
  });

  // The results below the search box: arrow keys walk through them, Escape closes them.
  const search = document.getElementById("search");
  if (search) {
    const box = document.getElementById("search-box");
    const found = document.getElementById("search-found");
    const close = () => found.replaceChildren();
    search.addEventListener("keydown", function (event) {
      const hits = [box, ...found.querySelectorAll(".search-hit")];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && hits.length > 1) {
        event.preventDefault();
        hits[(hits.indexOf(document.activeElement) + step + hits.length) % hits.length].focus();
      } else if (event.key === "Escape") {
        close();
        box.focus();
      }
    });
    box.addEventListener("input", () => box.value.trim() || close());
    document.addEventListener("click", (event) => search.contains(event.target) || close());
    search.addEventListener("focusout", (event) => search.contains(event.relatedTarget) || !event.relatedTarget || close());
  }

  // Folded choices close by Escape and by a click elsewhere.
  const openFilters = () => document.querySelectorAll("details.filter[open]");
  document.addEventListener("click", function (event) {
    openFilters().forEach((filter) => filter.contains(event.target) || (filter.open = false));
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    openFilters().forEach(function (filter) {
      if (filter.contains(document.activeElement)) filter.querySelector("summary").focus();
      filter.open = false;
    });
  });

  // The profile offers the zone of this device.
  document.querySelectorAll("select[data-browser-zone]").forEach(function (choice) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone || zone === choice.value || !choice.querySelector(`option[value="${CSS.escape(zone)}"]`)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = `${choice.dataset.browserZone} ${zone}`;
    choice.after(" ", button);
    button.addEventListener("click", function () {
      choice.value = zone;
      choice.focus(); // the button goes, and must not take the focus with it
      button.remove();
    });
  });
})();
