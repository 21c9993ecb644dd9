// The frame around the pages: which one is shown, how the connection is, colours.

import { announce } from "./announce.js";
import { attribute, h, keyed, mark, stateLine, text } from "./dom.js";
import { clock } from "./format.js";
import * as live from "./live.js";
import { bridgeState, worst } from "./states.js";
import { Stay } from "./stay.js";

const pages = [
  { name: "overview", title: "Overview" },
  { name: "queue", title: "Queue" },
  { name: "bridges", title: "Bridges", state: (s) => worst((s.bridges || []).map((b) => bridgeState(b.state))) },
  { name: "adapters", title: "Adapters", state: (s) => (s.adapters.paused || s.problems.some((p) => (p.of || "").startsWith("adapter/")) ? "warn" : "ok") },
  { name: "clients", title: "Clients" },
  { name: "topics", title: "Topics" },
  { name: "log", title: "Log" },
  { name: "configuration", title: "Configuration" },
];

const byID = (id) => document.getElementById(id);

let stay = null;
let shown = "";

async function show() {
  const name = location.hash.replace(/^#\/?/, "").split("?")[0] || "overview";
  const page = pages.find((p) => p.name === name) || pages[0];
  if (page.name === shown) return;
  const first = shown === "";
  shown = page.name;
  if (stay) stay.end();
  const mine = (stay = new Stay());
  text(byID("title"), page.title);
  document.title = `${page.title} · Packetboat`;
  for (const a of byID("pages").querySelectorAll("a")) attribute(a, "aria-current", a.hash === `#/${page.name}` ? "page" : null);
  openMenu(false);
  const module = await import(`./pages/${page.name}.js`).catch((e) => failed(e));
  if (mine.signal.aborted) return;
  const root = h("div", { class: `page page-${page.name}` });
  module.show(root, mine);
  byID("page").replaceChildren(root);
  if (!first) {
    scrollTo(0, 0);
    byID("main").focus({ preventScroll: true });
  }
}

// failed is a page that says that another one did not come.
function failed(error) {
  shown = "";
  return { show: (root) => root.append(h("p", { class: "bad", role: "alert" }, `This page could not be loaded: ${error.message}`)) };
}

function openMenu(open) {
  attribute(byID("menu"), "aria-expanded", String(open));
  document.body.classList.toggle("menu", open);
}

function buildNavigation() {
  const signs = new Map();
  const list = keyed(byID("pages"), (p) => p.name, (p) => {
    const word = h("span", { class: "unseen" });
    const sign = p.state ? mark("ok") : null;
    if (sign) signs.set(p, { sign, word });
    const node = h("li", {}, h("a", { href: `#/${p.name}` }, h("span", {}, p.title), sign && h("span", { class: "sign" }, sign.node, word)));
    return { node, update: () => {} };
  });
  list(pages);
  live.on("state", ({ status }) => {
    for (const [page, { sign, word }] of signs) {
      const state = page.state(status);
      sign.set(state);
      sign.node.parentNode.hidden = state === "ok";
      text(word, state === "ok" ? "" : " (needs a look)");
    }
  });
  byID("menu").addEventListener("click", () => openMenu(!document.body.classList.contains("menu")));
  addEventListener("keydown", (e) => {
    if (e.key === "Escape" && document.body.classList.contains("menu")) {
      openMenu(false);
      byID("menu").focus();
    }
  });
}

// buildLink shows how the connection is, and of the gateway what one word can say.
function buildLink() {
  const line = stateLine("idle", "Connecting");
  byID("link").append(line.node);
  const lost = byID("lost");
  const why = lost.querySelector("p");
  lost.querySelector("button").addEventListener("click", live.retry);
  const refresh = () => {
    const { state, heard, why: reason } = live.link;
    lost.hidden = state !== "lost";
    document.body.dataset.link = state;
    if (state === "lost") {
      line.set("bad", "Connection lost");
      const known = heard ? `What is shown is from ${clock(heard)}.` : "";
      text(why, ["The connection to the gateway is lost; it is tried again and again.", reason, known].filter(Boolean).join(" "));
    }
    if (state === "paused") line.set("idle", "Paused");
    if (state === "connecting") line.set("idle", "Connecting");
  };
  live.on("link", refresh);
  let version = "";
  live.on("state", ({ status }) => {
    if (version && version !== status.version) location.reload(); // these pages are of another one
    version = status.version;
    const n = status.problems.length;
    line.set(n ? "warn" : "ok", n ? `${n} ${n === 1 ? "problem" : "problems"}` : "All is well");
    text(byID("id"), status.id);
    text(byID("version"), `${status.id}, version ${status.version}`); // the name above may be cut
  });
}

function buildTheme() {
  const select = byID("theme");
  select.value = document.documentElement.dataset.theme || "";
  select.addEventListener("change", () => {
    if (select.value) document.documentElement.dataset.theme = select.value;
    else delete document.documentElement.dataset.theme;
    try {
      if (select.value) localStorage.setItem("theme", select.value);
      else localStorage.removeItem("theme");
    } catch {
      // storage is not allowed: until the page is left
    }
    dispatchEvent(new Event("theme"));
  });
}

// buildSkip leads the skip link to the content: its hash is none of a page.
function buildSkip() {
  document.querySelector(".skip").addEventListener("click", (e) => {
    e.preventDefault();
    byID("main").focus();
  });
}

const before = sessionStorage.getItem("page");
sessionStorage.removeItem("page");
if (before && !location.hash) history.replaceState(null, "", before);

buildNavigation();
buildLink();
buildTheme();
buildSkip();
announce();
addEventListener("hashchange", show);
show();
live.start();
