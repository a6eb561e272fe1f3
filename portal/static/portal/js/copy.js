"use strict";
// Buttons that copy the text of the element they name. Without HTTPS a browser has no clipboard to offer: then the text is
// selected and copied the old way.

(function () {
  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  async function copy(element) {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    }
    select(element);
    return document.execCommand("copy");
  }

  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    const label = button.textContent;
    button.addEventListener("click", async function () {
      const element = document.getElementById(button.dataset.copy);
      if (await copy(element).catch(() => false)) {
        button.textContent = button.dataset.done;
        setTimeout(() => (button.textContent = label), 2000);
      } else {
        select(element);
      }
    });
  });
})();
