"use strict";
// Shows of the form for a new token what matters for the chosen kind.

(function () {
  const kind = document.getElementById("id_kind");

  function show() {
    document.querySelectorAll("[data-for]").forEach(function (row) {
      row.hidden = row.dataset.for !== kind.value;
    });
  }

  kind.addEventListener("change", show);
  show();
})();
