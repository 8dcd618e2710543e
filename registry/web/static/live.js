// A push as it lands: events of the repository, in a panel that lies over the page and moves nothing.
const KEPT = 4;
const LINGERS = 20000;

for (const panel of document.querySelectorAll("[data-live]")) follow(panel);

function follow(panel) {
  const title = panel.querySelector("[data-live-title]");
  const list = panel.querySelector("[data-live-list]");
  let source = null;
  let timer = 0;

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(panel.dataset.live);
    source.addEventListener("uploads", (event) => uploads(JSON.parse(event.data)));
    source.addEventListener("blob", (event) => landed(JSON.parse(event.data)));
    source.addEventListener("tag", (event) => tagged(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) source = null;
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function show(text) {
    title.textContent = text;
    panel.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => (panel.hidden = true), LINGERS);
  }

  function uploads({ count, size }) {
    panel.classList.toggle("live-busy", count > 0);
    if (count > 0) show(`A push is landing: ${count} ${count === 1 ? "upload" : "uploads"}, ${bytes(size)}`);
  }

  function landed({ digest, size }) {
    add(`${short(digest)} landed, ${bytes(size)}`);
    if (panel.hidden) show("A push is landing");
  }

  function tagged({ name, digest, by }) {
    const link = document.createElement("a");
    link.href = `${panel.dataset.root}/-/tags/${encodeURIComponent(name)}`;
    link.textContent = name;
    add(link, ` is now ${short(digest)}${by ? `, by ${by}` : ""}`);
    show("Pushed just now");
  }

  function add(...parts) {
    const item = document.createElement("li");
    item.append(...parts);
    list.prepend(item);
    while (list.children.length > KEPT) list.lastChild.remove();
  }

  panel.querySelector("[data-live-close]").addEventListener("click", () => {
    clearTimeout(timer);
    panel.hidden = true;
  });
  // A tab in the background holds no connection: browsers have few for each server.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

function short(digest) {
  return digest.slice(0, digest.indexOf(":") + 13);
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${at ? number.toFixed(1) : number} ${units[at]}`;
}
