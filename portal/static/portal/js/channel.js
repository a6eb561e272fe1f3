"use strict";
// Shows of the form for a new channel what matters for the chosen kind.

document.addEventListener("DOMContentLoaded", function () {
  const kind = document.getElementById("id_kind");
  if (!kind) return;

  function show() {
    document.querySelectorAll("[data-kind]").forEach(function (field) {
      field.closest(".form-row").hidden = field.dataset.kind !== kind.value;
    });
  }

  kind.addEventListener("change", show);
  show();
});
