"use strict";
// Shows of the form for a new token what matters for the chosen kind.

(function () {
  const kind = document.getElementById("id_kind");

  function show() {
    document.querySelectorAll("[data-for]").forEach(function (row) {
      row.hidden = row.dataset.for !== kind.value;
    });
  }

  // A token for an application is in every installed copy, so it is offered for longer until a period is chosen.
  const lifetime = document.getElementById("id_lifetime");
  const usual = lifetime.value;
  let chosen = false;
  lifetime.addEventListener("change", () => (chosen = true));
  function offerLifetime() {
    if (!chosen) lifetime.value = kind.value === "client" ? "365" : usual;
  }

  kind.addEventListener("change", show);
  kind.addEventListener("change", offerLifetime);
  show();
})();
