// Buttons with `data-copy` put its text on the clipboard and say so.
const SHOWN = 1600;

export function enhanceCopying(root) {
  const status = announcer();
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(button.dataset.copy);
      status.textContent = done ? "Copied" : "Copying did not work";
      button.classList.toggle("copied", done);
      setTimeout(() => {
        status.textContent = "";
        button.classList.remove("copied");
      }, SHOWN);
    });
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// The clipboard is not there for pages without TLS, which a registry in a lab may well be.
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

function announcer() {
  const status = document.createElement("div");
  status.className = "hidden";
  status.setAttribute("role", "status");
  document.body.append(status);
  return status;
}
