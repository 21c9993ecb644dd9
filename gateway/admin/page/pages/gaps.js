// Gap markers: which messages a queue did not get, and why.

import { h, table, text } from "../dom.js";
import { count, moment, size } from "../format.js";

const shownMost = 200; // the newest

// gapList makes the table.
export function gapList() {
  const note = h("p", { class: "note" });
  const grid = table("Gaps", [
    { name: "Received", class: "time", cell: (g, node) => text(node, g.from === g.to ? moment(g.from) : `${moment(g.from)} to ${moment(g.to)}`) },
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

const few = 3;

function topicsCell(g, node) {
  const line = (t) => `${t.topic} (${count(t.count)})`;
  const key = g.topics.map(line).join("\n");
  if (node.shown === key) return;
  node.shown = key;
  const rest = g.topics.slice(few);
  node.replaceChildren(...g.topics.slice(0, few).map((t) => h("div", {}, line(t))));
  if (rest.length > 0) node.append(h("details", {}, h("summary", {}, `${rest.length} more topics`), rest.map((t) => h("div", {}, line(t)))));
  if (g.more) node.append(h("div", { class: "soft" }, "and others"));
}
