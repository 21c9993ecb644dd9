// The end of the log, as it goes on.

import { get } from "../api.js";
import { say, trouble } from "../dialog.js";
import { attribute, field, h, stateLine, text } from "../dom.js";
import { count, moment } from "../format.js";

const keep = 1000; // lines
const levels = ["DEBUG", "INFO", "WARN", "ERROR"];
const signs = { DEBUG: "idle", INFO: "idle", WARN: "warn", ERROR: "bad" };

export function show(root, stay) {
  const error = trouble();
  const level = h("select", { id: "log-level" }, ["All lines", "From info", "From warnings", "Errors"].map((name, i) => h("option", { value: i }, name)));
  const search = h("input", { type: "search", id: "log-search", placeholder: "Text" });
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const note = h("p", { class: "note", role: "status" });
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "Log, the newest line first" });
  const empty = h("p", { class: "empty" }, "No line.");
  root.append(h("div", { class: "tools" }, field("Show", level), field("Search", search), pause), error.node, note, list, empty);

  let lines = [];
  let held = [];
  let paused = false;
  const wanted = (l) => levels.indexOf(l.level) >= Number(level.value) && (search.value === "" || wordsOf(l).toLowerCase().includes(search.value.toLowerCase()));
  const redraw = () => {
    list.replaceChildren(...lines.filter(wanted).reverse().map(row));
    empty.hidden = list.firstChild !== null;
  };
  const add = (l) => {
    lines.push(l);
    if (lines.length > keep) lines.shift();
    if (!wanted(l)) return;
    list.prepend(row(l));
    while (list.childElementCount > keep) list.lastChild.remove();
    empty.hidden = true;
  };
  const tell = () => text(note, paused ? `Paused; ${count(held.length)} new ${held.length === 1 ? "line" : "lines"}.` : "");

  level.addEventListener("change", redraw);
  search.addEventListener("input", redraw);
  pause.addEventListener("click", () => {
    paused = !paused;
    attribute(pause, "aria-pressed", String(paused));
    text(pause, paused ? "Go on" : "Pause");
    if (!paused) {
      held.forEach(add);
      held = [];
    }
    tell();
    say(paused ? "The log is paused." : "The log goes on.");
  });
  stay.on("log", (l) => {
    if (!paused) return add(l);
    held.push(l);
    if (held.length > keep) held.shift();
    tell();
  });
  // What came before, and again what came while the connection was lost.
  const fetchAll = async () => {
    try {
      const all = (await get(`log?last=${keep}`, stay.signal)).lines;
      error.set(null);
      if (paused) return;
      lines = all;
      redraw();
    } catch (e) {
      if (!stay.signal.aborted) error.set(e);
    }
  };
  stay.on("link", (link) => link.state === "up" && fetchAll());
  fetchAll();
}

const wordsOf = (l) => `${l.message} ${attrsOf(l)}`;

const attrsOf = (l) => Object.entries(l.attrs || {}).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`).join(" ");

function row(l) {
  return h("li", {},
    h("time", { datetime: l.at }, moment(l.at)),
    stateLine(signs[l.level] || "idle", l.level.toLowerCase()).node,
    h("span", { class: "message" }, l.message, " ", h("span", { class: "soft mono" }, attrsOf(l))));
}
