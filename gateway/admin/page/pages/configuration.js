// The configuration that the gateway runs with, key by key.

import { get } from "../api.js";
import { trouble } from "../dialog.js";
import { choice, field, h, keyed, text } from "../dom.js";
import { count } from "../format.js";

export function show(root, stay) {
  const error = trouble();
  const search = h("input", { type: "search", id: "key-search", placeholder: "Key, value or word" });
  const setOnly = h("input", { type: "checkbox", id: "key-set" });
  const note = h("p", { class: "note", role: "status" });
  const file = h("code");
  const list = h("div", { class: "config" });
  const whole = h("pre", { tabindex: "0", "aria-label": "Configuration as a file" });
  const sections = keyed(list, (s) => s.name, sectionPart);
  let known = null;
  const draw = () => {
    if (!known) return;
    const word = search.value.toLowerCase();
    const keys = known.keys.filter((k) => (!setOnly.checked || k.set) && `${k.key} ${k.value} ${k.explanation}`.toLowerCase().includes(word));
    sections(grouped(keys));
    text(note, `${count(keys.length)} of ${count(known.keys.length)} keys.`);
  };
  search.addEventListener("input", draw);
  setOnly.addEventListener("change", draw);
  root.append(h("p", { class: "soft" }, "From ", file, "; secrets are not shown. To change it, edit the file, then ", h("code", {}, "packetboat check"), " and ", h("code", {}, "packetboat reload"), "."),
    h("div", { class: "tools" }, field("Search", search), choice(setOnly, "Only what is set")),
    error.node, note, list,
    h("details", {}, h("summary", {}, "As one file, with all defaults"), whole));
  stay.every(30_000, async (signal) => {
    known = await get("config", signal);
    text(file, known.file || "the defaults");
    text(whole, known.text);
    draw();
  }, error.set);
}

// grouped gathers keys by their section: bridge[0].tls.ca is of bridge[0].tls.
function grouped(keys) {
  const all = new Map();
  for (const k of keys) {
    const dot = k.key.lastIndexOf(".");
    const name = dot < 0 ? "" : k.key.slice(0, dot);
    if (!all.has(name)) all.set(name, { name, keys: [] });
    all.get(name).keys.push({ ...k, short: k.key.slice(dot + 1) });
  }
  return [...all.values()];
}

function sectionPart(first) {
  const rows = h("dl", { class: "keys" });
  const show = keyed(rows, (k) => k.key, keyPart);
  return {
    node: h("section", { "aria-label": first.name || "top level" }, h("h2", { class: "mono" }, first.name || "top level"), rows),
    update: (s) => show(s.keys),
  };
}

function keyPart() {
  const name = h("dt", { class: "mono" });
  const value = h("code", { class: "setting" });
  const source = h("span", { class: "source" });
  const words = h("p", { class: "soft" });
  const node = h("div", {}, name, h("dd", {}, value, source, words));
  return {
    node,
    update(k) {
      node.classList.toggle("set", k.set);
      text(name, k.short);
      text(value, k.value);
      text(source, sourceOf(k));
      explain(words, k.explanation);
    },
  };
}

// explain writes an explanation, in which `…` is to be taken literally.
function explain(node, words) {
  if (node.shown === words) return;
  node.shown = words;
  node.replaceChildren(...words.split("`").map((s, i) => (i % 2 ? h("code", {}, s) : s)));
}

function sourceOf(k) {
  if (!k.set) return "default";
  const file = (k.file || "").split("/").pop();
  return ["set", file && `in ${file}`, k.line && `line ${k.line}`].filter(Boolean).join(" ");
}
