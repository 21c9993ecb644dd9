// The ledgers of all queues, a look at what waits, and what can be done with it.

import { lines, post } from "../api.js";
import { confirmed, say } from "../dialog.js";
import { attribute, choice, field, h, table, text } from "../dom.js";
import { count, moment, payload, plural, size, span, sum } from "../format.js";

const shownMost = 500; // rows; all of them are in the API
const lookAt = 50; // messages

// ledgers makes the table; changed is called when something was purged.
export function ledgers(changed) {
  const filter = h("input", { type: "search", id: "queue-filter", placeholder: "bridge/…" });
  const busyOnly = h("input", { type: "checkbox", id: "queue-busy" });
  const note = h("p", { class: "note" });
  const messages = messageList(changed);
  const grid = table("Ledgers", [
    { name: "Queue", class: "name", cell: (q, node) => text(node, q.queue) },
    { name: "Waiting", class: "number", cell: (q, node) => text(node, count(q.messages)) },
    { name: "Bytes", class: "number", cell: (q, node) => text(node, size(q.bytes)) },
    { name: "Oldest", class: "number", cell: (q, node) => text(node, q.messages ? span(q.oldest_seconds) : "—") },
    { name: "Accepted", class: "number", cell: (q, node) => text(node, count(q.accepted)) },
    { name: "Delivered", class: "number", cell: (q, node) => text(node, count(q.delivered)) },
    { name: "Lost", class: "number", cell: (q, node) => text(node, lostOf(q)) },
    {
      name: "", class: "act", cell: (q, node) => {
        if (!node.firstChild) node.append(h("button", { class: "small", type: "button", onclick: () => messages.open(node.queue) }, "Look"));
        node.queue = q;
        attribute(node.firstChild, "aria-label", `Look into ${q.queue}`);
      },
    },
  ], (q) => q.queue);
  let all = [];
  const draw = () => {
    const wanted = filter.value.toLowerCase();
    const unused = wanted ? 0 : all.filter((q) => q.accepted === 0).length; // who searches finds these, too
    const match = all.filter((q) => q.queue.toLowerCase().includes(wanted) && (wanted || q.accepted > 0) && (!busyOnly.checked || q.messages > 0 || sum(q.lost) > 0));
    grid.set(match.slice(0, shownMost), match.length < all.length - unused ? "No queue matches." : "No queue has had a message yet.");
    text(note, [
      match.length > shownMost && `The first ${count(shownMost)} of ${count(match.length)} are shown.`,
      unused > 0 && `${plural(unused, "queue has", "queues have")} never had a message and ${unused === 1 ? "is" : "are"} left out.`,
    ].filter(Boolean).join(" "));
  };
  filter.addEventListener("input", draw);
  busyOnly.addEventListener("change", draw);
  return {
    node: h("div", {},
      h("div", { class: "tools" }, field("Search", filter), choice(busyOnly, "Only those with something waiting or lost")),
      grid.node, note, messages.node),
    set(queues) {
      all = queues;
      draw();
    },
  };
}

const lostOf = (q) => {
  const reasons = Object.entries(q.lost || {});
  return reasons.length ? reasons.map(([why, n]) => `${count(n)} ${why}`).join(", ") : "0";
};

const isDead = (queue) => /^bridge\/.*\/dead$/.test(queue);

// messageList shows the newest messages of a queue.
function messageList(changed) {
  const heading = h("h3", { tabindex: "-1" });
  const note = h("p", { class: "note" });
  const grid = table("Messages that wait", [
    { name: "Received", class: "time", cell: (m, node) => text(node, moment(m.received) + (m.received_trusted ? "" : " (the clock was not set)")) },
    { name: "Topic", class: "mono", cell: (m, node) => text(node, m.topic) },
    { name: "QoS", class: "number", cell: (m, node) => text(node, m.qos) },
    { name: "Payload", class: "mono payload", cell: (m, node) => text(node, payload(m).slice(0, 400)) },
    { name: "Why dead", class: "why", cell: (m, node) => text(node, m.dead_letter ? m.dead_letter.reason : "—") },
  ], (m) => m.seq);
  const exportLink = h("a", { class: "button small", download: "" }, "Export all");
  const purge = h("button", { class: "danger small", type: "button" }, "Purge");
  const close = h("button", { class: "small", type: "button" }, "Close");
  const node = h("div", { class: "look", hidden: true }, h("div", { class: "tools" }, heading, exportLink, purge, close), note, grid.node);
  let queue = null;
  let opener = null;

  async function refresh() {
    const asked = queue;
    try {
      const got = (await lines(`messages?queue=${encodeURIComponent(asked.queue)}&last=${lookAt}`)).filter((l) => l.message).map((l) => l.message);
      if (asked !== queue) return; // another one is looked into meanwhile
      grid.set(got.reverse(), "Nothing waits.");
      text(note, got.length === lookAt ? `The newest ${lookAt}; the export has all.` : plural(got.length, "message"));
      purge.disabled = got.length === 0;
    } catch (e) {
      text(note, e.message);
    }
  }
  purge.addEventListener("click", async () => {
    const what = isDead(queue.queue) ? "These dead letters" : "All messages that wait in it";
    const did = await confirmed(`Purge ${queue.queue}?`, `${what} are deleted for good and counted as lost: ${plural(queue.messages, "message")} now. Export them first if somebody may want them.`,
      "Purge", () => post("purge", { queue: queue.queue }));
    if (did) {
      say(`${plural(did.purged, "message")} purged.`);
      changed();
      refresh();
    }
    purge.focus();
  });
  close.addEventListener("click", () => {
    node.hidden = true;
    if (opener && opener.isConnected) opener.focus();
  });
  return {
    node,
    open(q) {
      opener = document.activeElement;
      queue = q;
      text(heading, q.queue);
      node.classList.toggle("alive", !isDead(q.queue));
      attribute(exportLink, "href", `/v1/messages?queue=${encodeURIComponent(q.queue)}`);
      attribute(exportLink, "download", `${q.queue.replaceAll("/", "-")}.jsonl`);
      grid.set([], "Reading …");
      node.hidden = false;
      heading.focus();
      refresh();
    },
  };
}
