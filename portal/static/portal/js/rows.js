"use strict";
// Selecting rows of a list for an action. Rows may be replaced at any time, so nothing is remembered of them. In narrow
// windows, where rows are cards, each cell shows the title of its column.

(function () {
  function title() {
    const titles = [...document.querySelectorAll("#result_list thead th")].map((each) => each.textContent.trim());
    document.querySelectorAll("#result_list tbody tr").forEach(function (row) {
      [...row.cells].forEach((cell, index) => titles[index] && (cell.dataset.title = titles[index]));
    });
  }

  title();
  document.addEventListener("live:renewed", title);
  const form = document.getElementById("changelist-form");
  if (!form) return;
  const rows = () => [...form.querySelectorAll("input.action-select")];
  const inBar = (selector) => form.querySelector(`.actions ${selector}`);
  let last = -1;

  function show(selector, isShown) {
    const element = inBar(selector);
    if (element) element.classList.toggle("hidden", !isShown);
  }

  function update() {
    const [all, across, counter] = [rows(), inBar("input.select-across"), inBar(".action-counter")];
    if (!across) return;
    const count = all.filter((row) => row.checked).length;
    const isEach = count > 0 && count === all.length;
    if (!isEach) across.value = 0;
    const isAcross = across.value === "1";
    const toggle = document.getElementById("action-toggle");
    if (toggle) toggle.checked = isEach;
    all.forEach((row) => row.closest("tr").classList.toggle("selected", row.checked));
    if (counter) counter.textContent = counter.dataset.text.replace("SELECTED", count).replace("TOTAL", all.length);
    show(".action-counter", !isAcross);
    show(".question", isEach && !isAcross);
    show(".all", isAcross);
    show(".clear", isAcross);
  }

  function choose(from, to, isChecked) {
    rows().slice(from, to).forEach((row) => (row.checked = isChecked));
    update();
  }

  form.addEventListener("click", function (event) {
    if (event.target.id === "action-toggle") choose(0, undefined, event.target.checked);
    if (event.target.closest(".question")) inBar("input.select-across").value = 1;
    if (event.target.closest(".clear")) choose(0, undefined, false);
    const index = rows().indexOf(event.target);
    if (index >= 0) {
      const isRange = event.shiftKey && last >= 0;
      choose(isRange ? Math.min(index, last) : index, (isRange ? Math.max(index, last) : index) + 1, event.target.checked);
      last = index;
    }
    update();
  });
  addEventListener("pageshow", update);
  document.addEventListener("live:renewed", function () {
    last = -1;
    update();
  });
  update();
})();
