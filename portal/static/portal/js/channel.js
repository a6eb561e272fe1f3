"use strict";
// The form of a channel: shows the fields of the chosen type, generates a webhook's key, and calls the portal for a test
// message or for the chats of a Telegram bot. Nothing is saved by these calls.

document.addEventListener("DOMContentLoaded", function () {
  const kind = document.getElementById("id_kind");
  const tools = document.getElementById("tools");

  function show() {
    document.querySelectorAll("[data-kind]").forEach(function (field) {
      field.closest(".form-row").hidden = field.dataset.kind !== kind.value;
    });
  }

  if (kind) {
    kind.addEventListener("change", show);
    show();
  }
  if (!tools) return;
  const form = tools.closest("form");

  function line(list, text, name) {
    const item = document.createElement("li");
    item.className = name;
    item.textContent = text;
    list.append(item);
    return item;
  }

  function offer(list, input, chat) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "tool";
    button.textContent = chat.name ? chat.id + " · " + chat.name : chat.id;
    button.addEventListener("click", function () {
      input.value = chat.id;
      input.focus();
      list.replaceChildren();
    });
    line(list, "", "").append(button);
  }

  async function call(button, url, list, found) {
    button.disabled = true;
    list.replaceChildren();
    try {
      const response = await fetch(url, { method: "POST", body: new FormData(form) });
      const answer = await response.json();
      (answer.errors || []).forEach((text) => line(list, text, "failed"));
      found(answer);
    } catch {
      line(list, tools.dataset.failed, "failed");
    } finally {
      button.disabled = false;
    }
  }

  const test = tools.querySelector("[data-tool=test]");
  test.addEventListener("click", function () {
    const list = tools.querySelector(".outcome");
    call(test, tools.dataset.test, list, function (answer) {
      (answer.results || []).forEach((result) => line(list, result.text, result.ok ? "done" : "failed"));
    });
  });

  form.querySelectorAll("[data-tool=chats]").forEach(function (button) {
    const list = button.parentElement.querySelector(".outcome");
    button.addEventListener("click", function () {
      call(button, tools.dataset.chats, list, function (answer) {
        (answer.chats || []).forEach((chat) => offer(list, document.getElementById("id_chat_id"), chat));
      });
    });
  });

  form.querySelectorAll("[data-tool=generate]").forEach(function (button) {
    button.addEventListener("click", function () {
      const bytes = crypto.getRandomValues(new Uint8Array(32));
      const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      document.getElementById("id_signing_key").value = key;
      document.getElementById("generated-key").textContent = key;
      document.getElementById("generated-key").parentElement.hidden = false;
    });
  });
});
