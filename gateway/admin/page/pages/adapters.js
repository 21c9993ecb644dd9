// Each adapter: its devices, what they sent last, what could not be read.

import { get } from "../api.js";
import { trouble } from "../dialog.js";
import { facts, h, keyed, stateLine, table, text } from "../dom.js";
import { ago, clock, count, plural, words } from "../format.js";
import { adapterState, wrongWith } from "../states.js";

export function show(root, stay) {
  const error = trouble();
  const none = h("p", { class: "empty", hidden: true }, "No adapter is configured. Sections [[serial]], [[tcp]] and [[modbus]] of the configuration connect devices that do not speak MQTT.");
  const list = h("div", { class: "cards" });
  const cards = keyed(list, (a) => a.name, card);
  let problems = [];
  let known = [];
  const draw = () => cards(known.map((a) => ({ ...a, problems: wrongWith(a.name, problems) })));
  root.append(error.node, none, list);
  stay.every(2000, async (signal) => {
    const { adapters } = await get("adapters", signal);
    none.hidden = adapters.length > 0;
    known = adapters;
    draw();
  }, error.set);
  stay.on("state", ({ status }) => {
    problems = status.problems;
    draw();
  });
}

const kinds = { serial: "serial port", "tcp-listen": "TCP, devices connect", "tcp-connect": "TCP, connects to the device", modbus: "Modbus" };

function card(first) {
  const state = stateLine("idle", "");
  const about = h("span", { class: "soft" });
  const reason = h("p", { class: "reason" });
  const counters = facts();
  const zeros = h("p", { class: "note" });
  const frames = table(`Last frames of ${first.name}`, [
    { name: "Time", class: "time", cell: (f, node) => text(node, clock(f.at)) },
    { name: "From", class: "name", cell: (f, node) => text(node, f.link || "—") },
    { name: "Bytes", class: "number", cell: (f, node) => text(node, count(f.bytes)) },
    { name: "Text", class: "mono payload", cell: (f, node) => text(node, f.text) },
    { name: "Hex", class: "mono hex", cell: (f, node) => text(node, spaced(f.hex)) },
    { name: "Topic, or what was wrong", class: "mono", cell: becameCell },
  ], (f) => `${f.at} ${f.link} ${f.hex} ${f.error || ""}`);
  const id = `adapter-${first.name}`;
  const node = h("article", { class: "card", "aria-labelledby": id },
    h("header", {}, h("h2", { id }, first.name), state.node, about),
    reason,
    counters.node,
    h("details", { class: "quiet" }, h("summary", {}, "Counters at 0"), zeros),
    h("details", { open: true }, h("summary", {}, "Last frames and errors, the newest first"), frames.node));
  return {
    node,
    update(a) {
      state.set(adapterState(a, a.problems), a.ready ? "ready" : "not ready");
      const last = a.last_frame ? `last frame ${ago(a.last_frame)}` : "no frame yet";
      text(about, `${kinds[a.kind] || a.kind}, ${plural(a.links, "link")} open, ${last}`);
      const wrong = a.ready ? a.problems.map((p) => [p.what.replace(`adapter ${a.name}: `, ""), p.remedy].filter(Boolean).join(": ")) : [a.error];
      text(reason, wrong.filter(Boolean).join("; "));
      reason.hidden = reason.textContent === "";
      const all = Object.entries(a.counters).sort();
      counters.set(all.filter(([, v]) => v > 0).map(([k, v]) => [words(k), count(v)]));
      text(zeros, all.filter(([, v]) => v === 0).map(([k]) => words(k)).join(", "));
      frames.set(a.frames, "Nothing has come while somebody looked.");
    },
  };
}

const spaced = (hex) => (hex.includes(" ") ? hex : hex.replaceAll(/(..)(?=.)/g, "$1 "));

function becameCell(f, node) {
  const key = f.error || f.topic || "";
  if (node.shown === key) return;
  node.shown = key;
  if (f.error) node.replaceChildren(stateLine("bad", f.error).node);
  else node.replaceChildren(f.topic || "—");
}
