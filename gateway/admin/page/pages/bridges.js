// Each bridge: how its connection is, what waits for it, what it has done.

import { get, post } from "../api.js";
import { confirmed, say, trouble } from "../dialog.js";
import { facts, figure, h, keyed, stateLine, table, text } from "../dom.js";
import { ago, ahead, count, isTime, moment, perSecond, plural, rate, short, size, span, words } from "../format.js";
import { bridgeState } from "../states.js";

export function show(root, stay) {
  const error = trouble();
  const none = h("p", { class: "empty", hidden: true }, "No bridge is configured: messages stay on this gateway. A [[bridge]] section in the configuration carries them to a cloud.");
  const list = h("div", { class: "cards" });
  const parts = new Map();
  const cards = keyed(list, (b) => b.name, (b) => {
    const part = card(b.name);
    parts.set(b.name, part);
    return part;
  });
  root.append(error.node, none, list);
  stay.every(2000, async (signal) => {
    const { bridges } = await get("bridges", signal);
    none.hidden = bridges.length > 0;
    cards(bridges);
    tellRates();
  }, error.set);
  let rates = {};
  const tellRates = () => {
    for (const [name, part] of parts) part.live(rates[name]);
  };
  stay.on("state", (state) => {
    rates = state.rates.bridges || {};
    tellRates();
  });
}

const counterWords = {
  sent: "Sent, re-sends included", resent: "Re-sent", acked: "Taken by the cloud", unstamped: "Without a stamp", received: "From the cloud",
  unmatched: "Taken by no rule", looped: "Came back", connects: "Connected", reconnects: "Reconnected", sessions_lost: "Sessions lost",
};

function card(name) {
  const state = stateLine("idle", "");
  const since = h("span", { class: "soft" });
  const error = h("p", { class: "reason" });
  const figures = { out: figure("Goes out"), waiting: figure("Waiting"), oldest: figure("Oldest"), drain: figure("Drained in"), flight: figure("In flight"), dead: figure("Dead letters") };
  const about = facts("facts wide");
  const counters = facts();
  const lanes = table(`Lanes of ${name}`, [
    { name: "Lane", class: "name", cell: (l, node) => text(node, l.queue) },
    { name: "Waiting", class: "number", cell: (l, node) => text(node, count(l.messages)) },
    { name: "Bytes", class: "number", cell: (l, node) => text(node, size(l.bytes)) },
    { name: "Oldest", class: "number", cell: (l, node) => text(node, l.messages ? span(l.oldest_seconds) : "—") },
    { name: "Delivered", class: "number", cell: (l, node) => text(node, count(l.delivered)) },
  ], (l) => l.queue);
  const reset = h("button", { class: "danger small", type: "button", onclick: () => askReset(name) }, "Reset the session");
  const id = `bridge-${name}`;
  const node = h("article", { class: "card", "aria-labelledby": id },
    h("header", {}, h("h2", { id }, name), state.node, since),
    error,
    h("dl", { class: "figures" }, Object.values(figures).map((f) => f.node)),
    about.node,
    h("details", { open: true }, h("summary", {}, "Lanes, by priority"), lanes.node),
    h("details", {}, h("summary", {}, "Counters since the start"), counters.node),
    h("p", {}, reset));
  return {
    node,
    live(r) {
      figures.out.set(perSecond(r ? r.out : 0), "/s", "messages");
    },
    update(b) {
      const waiting = b.lanes.reduce((a, l) => a + l.messages, 0);
      const oldest = Math.max(0, ...b.lanes.map((l) => (l.messages ? l.oldest_seconds : 0)));
      state.set(bridgeState(b.state), b.state);
      text(since, isTime(b.since) ? `since ${moment(b.since)} (${ago(b.since)})` : "");
      error.hidden = b.state === "online" || !b.last_error;
      text(error, b.last_error);
      figures.waiting.set(short(waiting), "", waiting === 1 ? "message" : "messages");
      figures.oldest.set(waiting ? span(oldest) : "—", "", waiting ? "on the disk" : "");
      figures.drain.set(waiting ? (b.drain_rate > 0 ? span(b.drain_left_seconds) : "unknown") : "—", "", b.drain_rate > 0 ? `at ${rate(b.drain_rate)} if nothing comes in` : "");
      figures.flight.set(count(b.in_flight), "", "sent, not acknowledged");
      figures.dead.set(count(b.dead_letters), "", b.dead_letters ? "the queue page shows them" : "");
      about.set([
        ["Server", b.server || "none yet"],
        ["Next attempt", isTime(b.next_attempt) && b.state !== "online" ? ahead(b.next_attempt) : "—"],
        ["Last error", b.last_error ? `${error.hidden ? b.last_error : "the one above"} (${ago(b.last_error_at)})` : "none"],
      ]);
      lanes.set(b.lanes.filter((l, i) => i === 0 || l.accepted > 0), "No lanes.");
      counters.set(Object.entries(b.counters).map(([k, v]) => [counterWords[k] || words(k), k.startsWith("bytes") ? size(v) : count(v)]));
    },
  };
}

async function askReset(name) {
  const did = await confirmed(`Reset the session of ${name}?`,
    "The bridge connects anew with a new session at the cloud, once. What waits stays and is sent; what was in flight is sent again, so the cloud may get messages of QoS 2 twice.",
    "Reset", () => post("bridges/reset", { bridge: name }));
  if (did) say(`The session of ${name} was reset; ${plural(did.waiting, "message waits", "messages wait")}.`);
}
