// What passes, topic by topic: the latest value of each.

import { get } from "../api.js";
import { trouble } from "../dialog.js";
import { facts, field, h, text } from "../dom.js";
import { ago, count, moment, payload, plural } from "../format.js";
import { tree } from "./tree.js";

const limit = 10_000;

export function show(root, stay) {
  const error = trouble();
  const search = h("input", { type: "search", id: "topic-search", placeholder: "Part of a topic" });
  const note = h("p", { class: "note", role: "status" });
  const detail = details();
  const branches = tree("Topics", payload, detail.set);
  const empty = h("p", { class: "empty" }, "Nothing was published while somebody looked, and nothing is retained.");
  root.append(h("p", { class: "soft" }, "While this page is open, the gateway notes the latest message of each topic; what is retained is there from before."),
    h("div", { class: "tools" }, field("Search", search)), error.node, note, empty,
    h("div", { class: "split" }, branches.node, detail.node));
  const again = stay.every(2000, async (signal) => {
    const started = Date.now();
    const match = search.value;
    const list = await get(`topics?match=${encodeURIComponent(match)}&limit=${limit}`, signal);
    branches.set(list.topics, match !== "" && list.topics.length <= 1000);
    branches.node.hidden = detail.node.hidden = list.topics.length === 0;
    empty.hidden = list.topics.length > 0;
    text(empty, match ? "No topic matches." : "Nothing was published while somebody looked, and nothing is retained.");
    text(note, plural(list.total, "topic") + (list.more ? `; not all are shown: search for the others` : ""));
    return Math.max(2000, 20 * (Date.now() - started)); // of many topics, less often
  }, error.set);
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(again, 200);
  });
  stay.atEnd(() => clearTimeout(typing));
  stay.atEnd(branches.end);
}

function details() {
  const title = h("h2", { class: "mono" }, "No topic is chosen");
  const list = facts();
  const value = h("pre", { class: "payload", tabindex: "0", "aria-label": "Latest value", hidden: true });
  const node = h("section", { class: "card detail", "aria-label": "The topic chosen" }, title, list.node, value);
  return {
    node,
    set(n) {
      text(title, n.path || "(empty)");
      const t = n.leaf;
      value.hidden = !t;
      if (!t) {
        list.set([["Topics below", count(n.count)]]);
        return;
      }
      const whole = payload(t);
      text(value, pretty(whole) + (t.bytes > 256 ? "\n… (the first 256 bytes)" : ""));
      list.set([
        ["Received", t.at ? `${moment(t.at)} (${ago(t.at)})` : "before somebody looked"],
        ["Seen", t.count ? plural(t.count, "message") : "none: it is the retained one"],
        ["QoS", String(t.qos)],
        ["Retained", t.retain ? "yes" : "no"],
        ["Size", plural(t.bytes, "byte")],
      ]);
    },
  };
}

// pretty lays out JSON; anything else stays.
function pretty(s) {
  if (!/^\s*[[{]/.test(s)) return s;
  try {
    return JSON.stringify(JSON.parse(s), null, 2);
  } catch {
    return s;
  }
}
