// Gap markers: which messages a queue did not get, and why.

import { h, table, text } from "../dom.js";
import { clock, count, moment, plural, size } from "../format.js";

const shownMost = 200; // the newest

// gapList makes the table.
export function gapList() {
  const note = h("p", { class: "note" });
  const grid = table("Gaps", [
    { name: "Received", class: "time", cell: (g, node) => text(node, period(g.from, g.to)) },
    { name: "Queue", class: "name", cell: (g, node) => text(node, g.queue || "unknown") },
    { name: "Why", cell: (g, node) => text(node, g.reason + (g.times_trusted ? "" : "; the clock was not set")) },
    { name: "Messages", class: "number", cell: (g, node) => text(node, count(g.count)) },
    { name: "Bytes", class: "number", cell: (g, node) => text(node, size(g.bytes)) },
    { name: "Topics", class: "mono topics", cell: topicsCell },
  ], (g) => `${g.queue} ${g.reason} ${g.first_seq}`);
  return {
    node: h("div", {}, grid.node, note),
    set(gaps) {
      grid.set(gaps.slice(-shownMost).reverse(), "Nothing was lost.");
      text(note, gaps.length > shownMost ? `The newest ${shownMost} of ${count(gaps.length)}.` : "");
    },
  };
}

// period is from when to when: of what goes without saying, nothing.
function period(from, to) {
  const [a, b] = [moment(from), moment(to)];
  if (a === b) return a;
  return `${a} to ${a.slice(0, 10) === b.slice(0, 10) ? clock(to) : b}`;
}

const few = 3;

function topicsCell(g, node) {
  const line = (t) => `${t.topic} (${count(t.count)})`;
  const key = g.topics.map(line).join("\n");
  if (node.shown === key) return;
  node.shown = key;
  const rest = g.topics.slice(few);
  node.replaceChildren(...g.topics.slice(0, few).map((t) => h("div", {}, line(t))));
  if (rest.length > 0) node.append(h("details", {}, h("summary", {}, plural(rest.length, "more topic")), rest.map((t) => h("div", {}, line(t)))));
  if (g.more) node.append(h("div", { class: "soft" }, "and others"));
}
