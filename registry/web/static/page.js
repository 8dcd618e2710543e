// What every page has: copy buttons, search suggestions, the theme, menus that close.
import { enhanceCopying } from "./copy.js";
import { enhanceSearch } from "./suggest.js";
import { enhanceTheme } from "./theme.js";

enhanceCopying(document);
document.querySelectorAll("form[data-suggest]").forEach(enhanceSearch);
document.querySelectorAll("form[data-theme-toggle]").forEach(enhanceTheme);

// "/" goes to the search field, as long as nobody is typing elsewhere.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  document.querySelector("#finder-q")?.focus();
});

for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// Where the bar of sections is wider than the window, the current one is in sight.
for (const current of document.querySelectorAll(".tabs [aria-current]")) {
  const bar = current.closest("ul");
  bar.scrollLeft = current.offsetLeft - bar.offsetLeft - (bar.clientWidth - current.offsetWidth) / 2;
}

// Choices that apply at once; without scripts there is a button.
for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
}
