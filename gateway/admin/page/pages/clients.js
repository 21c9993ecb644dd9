// MQTT clients, and the sessions that others have left.

import { get, post } from "../api.js";
import { confirmed, say, trouble } from "../dialog.js";
import { attribute, field, h, stateLine, table, text } from "../dom.js";
import { ago, count, past, plural, size, span } from "../format.js";

const limit = 200;

export function show(root, stay) {
  const error = trouble();
  const search = h("input", { type: "search", id: "client-search", placeholder: "Identifier, user or address" });
  const note = h("p", { class: "note", role: "status" });
  const grid = clientTable(() => again());
  root.append(h("div", { class: "tools" }, field("Search", search)), error.node, note, grid.node);
  const again = stay.every(3000, async (signal) => {
    const started = Date.now();
    const list = await get(`clients?match=${encodeURIComponent(search.value)}&limit=${limit}`, signal);
    grid.set(list.clients, search.value ? "No client matches." : "No client is connected, and none has left a session.");
    text(note, list.total > list.clients.length ? `The first ${count(list.clients.length)} of ${count(list.total)} are shown.` : plural(list.total, "client"));
    return Math.max(3000, 20 * (Date.now() - started));
  }, error.set);
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(again, 200);
  });
  stay.atEnd(() => clearTimeout(typing));
}

function clientTable(changed) {
  return table("Clients", [
    { name: "Client", class: "name", cell: nameCell },
    { name: "State", class: "still", cell: stateCell },
    { name: "From", cell: (c, node) => text(node, c.online ? [c.address, c.transport, c.protocol].filter(Boolean).join(", ") : "—") },
    { name: "Subscriptions", class: "mono topics", cell: subscriptionsCell },
    { name: "Waiting", class: "number", cell: (c, node) => text(node, count(c.waiting) + (c.in_flight ? `, ${count(c.in_flight)} in flight` : "")) },
    { name: "In", class: "number", cell: (c, node) => text(node, `${count(c.messages_in)} (${size(c.bytes_in)})`) },
    { name: "Out", class: "number", cell: (c, node) => text(node, `${count(c.messages_out)} (${size(c.bytes_out)})`) },
    {
      name: "", class: "act", cell: (c, node) => {
        if (!node.firstChild) node.append(h("button", { class: "small", type: "button", onclick: () => kick(node.client, changed) }, "Kick"));
        node.client = c;
        node.firstChild.hidden = !c.online;
        attribute(node.firstChild, "aria-label", `Kick ${c.id}`);
      },
    },
  ], (c) => c.id);
}

function nameCell(c, node) {
  if (!node.firstChild) node.append(h("div"), h("div", { class: "soft" }));
  text(node.firstChild, c.id);
  text(node.lastChild, c.user ? `user ${c.user}` : "");
}

function stateCell(c, node) {
  node.line ||= stateLine("idle", "");
  if (!node.firstChild) node.append(node.line.node, h("div", { class: "soft" }));
  node.line.set(c.online ? "ok" : "idle", c.online ? "online" : "offline");
  const since = c.online ? c.connected : c.disconnected;
  text(node.lastChild, !since ? "" : c.online ? `for ${past(since)}` : `${ago(since)}, kept for ${span(c.session_expiry_seconds)}`);
}

const few = 2;

function subscriptionsCell(c, node) {
  const line = (s) => `${s.filter} (QoS ${s.qos})`;
  const key = c.subscriptions.map(line).join("\n");
  if (node.shown === key) return;
  node.shown = key;
  node.replaceChildren(...c.subscriptions.slice(0, few).map((s) => h("div", {}, line(s))));
  const rest = c.subscriptions.slice(few);
  const more = c.more_subscriptions || 0;
  if (rest.length + more > 0) {
    node.append(h("details", {}, h("summary", {}, `${rest.length + more} more`), rest.map((s) => h("div", {}, line(s))), more ? h("div", {}, `and ${count(more)} others`) : null));
  }
  if (!key) node.append("—");
}

async function kick(client, changed) {
  const keeps = client.session_expiry_seconds > 0 ? "Its session and what waits for it stay. " : "";
  const did = await confirmed(`Kick ${client.id}?`, `Its connection is ended. ${keeps}It may connect again at once; to keep it out, change its password or the access rules.`,
    "Kick", () => post("clients/kick", { client: client.id }));
  if (did) {
    say(`${client.id} was disconnected.`);
    changed();
  }
}
