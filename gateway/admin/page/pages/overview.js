// What is wrong, the way of the messages, and the figures that count.

import { get } from "../api.js";
import { figure, h, keyed, mark, section, text } from "../dom.js";
import { count, past, plural, rate, perSecond, short, size, sized, span } from "../format.js";
import { adapterState, bridgeState, kindOf as problemKind, worst } from "../states.js";
import { flow } from "./flow.js";
import { drainedIn, fullIn } from "./outlook.js";
import { sparks } from "./sparks.js";

const most = 5; // adapters by name in the picture

export function show(root, stay) {
  const problems = problemList();
  const picture = flow("The way of the messages, from the devices to the clouds");
  const figures = keyFigures();
  const recent = sparks(stay);
  root.append(problems.node, figures.node, section("The way of the messages", picture.node), section("The last five minutes", recent.node));
  stay.atEnd(picture.end);

  const known = { adapters: null, servers: {}, rates: {} };
  let latest = null;
  const draw = () => latest && picture.set(model(latest, known));
  stay.every(5000, async (signal) => {
    const [{ adapters }, { bridges }] = await Promise.all([get("adapters", signal), get("bridges", signal)]);
    const first = known.adapters === null;
    known.rates = ratesOf(adapters, known.adapters);
    known.adapters = adapters;
    known.servers = Object.fromEntries(bridges.map((b) => [b.name, b.server]));
    draw();
    return first ? 1000 : 0; // two looks make a rate
  });
  stay.on("state", (state) => {
    latest = state;
    problems.set(state.status.problems);
    figures.set(state);
    draw();
  });
}

function problemList() {
  const fine = h("p", { class: "fine" });
  const sign = mark("ok");
  fine.append(sign.node, h("span", {}, "Nothing is wrong."));
  const list = h("ul", { class: "problems" });
  const node = h("div", { role: "region", "aria-label": "What is wrong" }, fine, list);
  const show = keyed(list, problemKind, () => {
    const what = h("strong");
    const remedy = h("p");
    const part = { node: h("li", {}, mark("warn").node, h("div", {}, what, remedy)) };
    part.update = (p) => {
      text(what, p.what);
      text(remedy, p.remedy || "");
    };
    return part;
  });
  return {
    node,
    set(problems) {
      fine.hidden = problems.length > 0;
      list.hidden = problems.length === 0;
      show(problems);
    },
  };
}

function keyFigures() {
  const all = {
    inward: figure("Comes in"),
    outward: figure("Goes out"),
    waiting: figure("Waiting"),
    drained: figure("Drained in"),
    disk: figure("Disk queue"),
    full: figure("Full in"),
    lost: figure("Lost"),
  };
  const node = h("dl", { class: "figures" }, Object.values(all).map((f) => f.node));
  return {
    node,
    set({ status, rates, queues }) {
      const waiting = status.bridges.reduce((a, b) => a + b.waiting, 0);
      const oldest = Math.max(0, ...status.bridges.map((b) => b.oldest_seconds));
      all.inward.set(perSecond(rates.in), "/s", plural(status.clients, "client") + " connected");
      all.outward.set(perSecond(toClouds(rates)), "/s", `to the clouds; to clients here ${rate(rates.out)}`);
      const sessions = queues.find((q) => q.queue === "session/*");
      const more = sessions && sessions.messages ? `${short(sessions.messages)} ${waiting ? "more " : ""}for clients` : "";
      all.waiting.set(short(waiting), "", [waiting ? `for bridges, the oldest for ${span(oldest)}` : more ? "for bridges" : "everything is delivered", more].filter(Boolean).join("; "));
      all.drained.set(...drainedIn(status.bridges));
      const [n, unit] = sized(status.disk.bytes);
      all.disk.set(n, unit, status.disk.max_size ? `of ${size(status.disk.max_size)}` : "no limit");
      all.full.set(...fullIn(status.disk));
      all.lost.set(short(status.lost || 0), "", status.lost ? `${status.lost === 1 ? "message" : "messages"}; see the queue` : "nothing, ever");
    },
  };
}

// toClouds is the rate of all bridges.
const toClouds = (rates) => Object.values(rates.bridges || {}).reduce((a, b) => a + b.out, 0);

// ratesOf works out frames a second from two looks at the counters.
function ratesOf(now, before) {
  const at = Date.now();
  const old = Object.fromEntries((before || []).map((a) => [a.name, a]));
  const rates = {};
  for (const a of now) {
    a.seen = at;
    const b = old[a.name];
    if (b && a.counters.published_frames >= b.counters.published_frames) rates[a.name] = ((a.counters.published_frames - b.counters.published_frames) * 1000) / (at - b.seen);
  }
  return rates;
}

// model is what the picture shows.
function model(state, known) {
  const { status, rates } = state;
  const devices = devicesOf(state, known);
  const disk = status.disk;
  const waiting = status.bridges.reduce((a, b) => a + b.waiting, 0);
  const part = disk.max_size ? disk.bytes / disk.max_size : undefined;
  const queueState = disk.failed ? "bad" : part >= 0.9 || status.adapters.paused ? "warn" : "ok";
  const broker = { id: "broker", title: "Broker", state: "ok", word: "", href: "#/topics", lines: [`${rate(rates.in)} in`, plural(status.clients, "client")] };
  const queue = {
    id: "queue", title: "Queue", state: queueState, href: "#/queue", part,
    word: disk.failed ? "takes no writes" : queueState === "warn" ? "nearly full" : "",
    lines: [`${short(waiting)} waiting`, part === undefined ? size(disk.bytes) : `${size(disk.bytes)}, ${Math.round(part * 100)} % full`],
  };
  const columns = [{ title: "Devices", weight: 1.35, nodes: devices }, { title: "Broker", weight: 1, nodes: [broker] }, { title: "On the disk", weight: 1.25, nodes: [queue] }];
  const edges = devices.map((d) => ({ from: d.id, to: "broker", state: d.moves ? "moving" : d.broken ? "broken" : "still" }));
  edges.push({ from: "broker", to: "queue", state: disk.failed ? "broken" : rates.in > 0 ? "moving" : "still" });
  if (status.bridges.length > 0) {
    columns.push({ title: "Bridges", weight: 1.25, nodes: [] }, { title: "Clouds", weight: 1.35, nodes: [], beside: true });
  }
  for (const b of status.bridges) {
    const out = (rates.bridges && rates.bridges[b.name] && rates.bridges[b.name].out) || 0;
    const state = bridgeState(b.state);
    const moves = state === "ok" ? (out > 0 ? "moving" : "still") : "broken";
    columns[3].nodes.push({ id: `b ${b.name}`, title: b.name, state, word: b.state, href: "#/bridges", lines: [`${b.state}, ${rate(out)}`, `${count(b.waiting)} waiting`] });
    columns[4].nodes.push({ id: `c ${b.name}`, title: hostOf(known.servers[b.name]) || "cloud", state, word: "", href: "#/bridges", lines: cloudLines(b) });
    edges.push({ from: "queue", to: `b ${b.name}`, state: moves === "broken" ? "still" : moves }, { from: `b ${b.name}`, to: `c ${b.name}`, state: moves });
  }
  return { columns, edges };
}

function cloudLines(b) {
  const since = b.since ? `for ${past(b.since)}` : "";
  return [b.state === "online" ? "answers" : "not reached", since];
}

const kindOf = (a) => a.kind.replace("-", ", ");

const hostOf = (server) => (server || "").replace(/^[a-z]+:\/\//, "").replace(/:(1883|8883|443)$/, "");

function devicesOf({ status, rates }, known) {
  const list = [];
  const adapters = known.adapters || [];
  const fine = (a) => Number(adapterState(a, status.problems) === "ok");
  const sorted = [...adapters].sort((a, b) => fine(a) - fine(b));
  for (const a of sorted.slice(0, most)) {
    const r = known.rates[a.name];
    const moves = r > 0;
    list.push({
      id: `a ${a.name}`, title: a.name, state: adapterState(a, status.problems), word: a.ready ? "ready" : "not ready", href: "#/adapters", moves, broken: !a.ready,
      lines: [a.ready ? `${kindOf(a)}${r === undefined ? "" : `, ${rate(r)}`}` : `${kindOf(a)}, not ready`],
    });
  }
  const rest = sorted.slice(most);
  if (rest.length > 0) {
    const ready = rest.filter((a) => a.ready).length;
    list.push({ id: "a", title: plural(rest.length, "more adapter"), state: worst(rest.map((a) => adapterState(a, status.problems))), href: "#/adapters", lines: [`${ready} ready`], moves: rest.some((a) => known.rates[a.name] > 0) });
  }
  const n = status.clients;
  list.push({ id: "clients", title: "MQTT clients", state: n ? "ok" : "idle", href: "#/clients", lines: [`${count(n)} connected`], moves: n > 0 && rates.in > 0 });
  return list;
}
