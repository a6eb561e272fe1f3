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
  document.querySelectorAll("button[data-browser-zone]").forEach(function (button) {
    const choice = document.getElementById("id_time_zone");
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone || zone === choice.value || !choice.querySelector(`option[value="${CSS.escape(zone)}"]`)) return;
    button.textContent = `${button.dataset.browserZone} ${zone}`;
    button.hidden = false;
    button.addEventListener("click", function () {
      choice.value = zone;
      button.hidden = true;
    });
  });
})();
