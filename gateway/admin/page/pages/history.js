// The queue over time, with where it leads.

import { get } from "../api.js";
import { chart } from "../chart.js";
import { attribute, h } from "../dom.js";
import { rate, short, size } from "../format.js";
import { trouble } from "../dialog.js";
import { forecast, lookBack } from "./forecast.js";

const ranges = [[900, "15 min"], [3600, "1 h"], [21600, "6 h"], [86400, "24 h"]];

const least = 300; // seconds that are shown, if no more are known

// What may be between two lines of the grid: bytes, messages, messages a second.
const powers = Array.from({ length: 40 }, (_, i) => 2 ** (i + 8));
const decimals = Array.from({ length: 30 }, (_, i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3));
const parts = [0.1, 0.2, 0.5, ...decimals];

// history makes the charts and the choice of a range.
export function history(stay) {
  let range = 3600;
  let known = null;
  let latest = null;
  const disk = chart("Disk queue", size, 220, powers);
  const waiting = chart("Waiting for bridges", short, 160, decimals);
  const flow = chart("Messages a second", (v) => rate(v), 160, parts);
  const error = trouble();
  const buttons = ranges.map(([seconds, name]) => h("button", {
    class: "small", type: "button", "aria-pressed": String(seconds === range),
    onclick: (e) => {
      range = seconds;
      buttons.forEach((b) => attribute(b, "aria-pressed", String(b === e.currentTarget)));
      again();
    },
  }, name));
  const draw = () => {
    if (!known || known.series.in.length === 0) return;
    const step = known.step_seconds;
    const s = withLatest(known.series, latest);
    const n = Math.min(s.in.length, Math.round(range / step));
    const start = new Date(known.from).getTime() / 1000 + (s.in.length - n) * step;
    const end = start + (n - 1) * step;
    const span = [Math.min(start, end - least), end];
    drawDisk(disk, s, n, start, step, range, span);
    drawWaiting(waiting, s, n, start, step, span);
    drawFlow(flow, s, n, start, step, span);
  };
  const again = stay.every(10_000, async (signal) => {
    known = await get(`history?last=${Math.max(range, lookBack) / 10}`, signal);
    draw();
    return range > 3600 ? 60_000 : 10_000;
  }, error.set);
  let drawn = 0;
  stay.on("state", (state) => {
    latest = state;
    if (range > 3600 && Date.now() - drawn < 10_000) return; // thousands of points, which hardly move
    drawn = Date.now();
    draw();
  });
  [disk, waiting, flow].forEach((c) => stay.atEnd(c.end));
  return { node: h("div", {}, h("div", { class: "choices", role: "group", "aria-label": "Range" }, buttons), error.node, disk.node, waiting.node, flow.node) };
}

// withLatest takes the state as it is now for the sample that comes next, so that
// the charts say what all else on the page does.
function withLatest(s, state) {
  if (!state) return s;
  const { status, rates } = state;
  const bridges = {};
  for (const [name, b] of Object.entries(s.bridges)) {
    const now = status.bridges.find((x) => x.name === name);
    const out = rates.bridges[name];
    bridges[name] = { waiting: [...b.waiting, now ? now.waiting : null], out: [...b.out, out ? out.out : null] };
  }
  return { queue_bytes: [...s.queue_bytes, status.disk.bytes], queue_limit: [...s.queue_limit, status.disk.max_size || 0], in: [...s.in, rates.in], bridges };
}

const tail = (list, n) => list.slice(list.length - n);
const newest = (list) => list.findLast((v) => v !== null) || 0;
const times = (n, start, step) => Array.from({ length: n }, (_, i) => start + i * step);
const nothing = (n) => Array(n).fill(null);

function drawDisk(chart, s, n, start, step, range, span) {
  const limit = newest(s.queue_limit);
  const next = forecast(s.queue_bytes, step, Math.max(least, Math.min(range, n * step)) / 4, limit);
  const more = next ? next.list.length : 0;
  const now = newest(s.queue_bytes);
  const lines = [{ name: "Stored", dash: [], fill: true }, { name: "Forecast", dash: [2, 4] }];
  const ahead = next ? [...nothing(n - 1), now, ...next.list] : nothing(n);
  const data = [times(n + more, start, step), [...tail(s.queue_bytes, n), ...nothing(more)], ahead];
  const highest = Math.max(0, ...data[1], ...ahead);
  if (limit > 0 && highest > limit / 3) { // else the line would lie flat on the ground
    lines.push({ name: "Limit", dash: [8, 4], soft: true });
    data.push(Array(n + more).fill(limit));
  }
  chart.set(lines, data, diskSentence(now, limit, next), [span[0], span[1] + more * step]);
}

function diskSentence(now, limit, next) {
  const is = `${size(now)} are stored${limit ? `, the limit is ${size(limit)}` : ""}.`;
  if (!next) return `${is} Too little is known for a forecast.`;
  const perHour = next.slope * 3600;
  if (Math.abs(perHour) < 64 * 1024) return `${is} It stays as it is.`;
  if (perHour < 0) return `${is} It shrinks by ${size(-perHour)} an hour.`;
  return `${is} It grows by ${size(perHour)} an hour.`;
}

function drawWaiting(chart, s, n, start, step, span) {
  const names = Object.keys(s.bridges).sort();
  const words = names.map((b) => `${b} ${short(newest(s.bridges[b].waiting))}`).join(", ");
  chart.set(names.map((name) => ({ name })), [times(n, start, step), ...names.map((b) => tail(s.bridges[b].waiting, n))], names.length ? `Now: ${words}.` : "No bridge is configured.", span);
}

function drawFlow(chart, s, n, start, step, span) {
  const names = Object.keys(s.bridges).sort();
  const lines = [{ name: "In" }, ...names.map((b) => ({ name: `Out by ${b}` }))];
  const words = [`in ${rate(newest(s.in))}`, ...names.map((b) => `out by ${b} ${rate(newest(s.bridges[b].out))}`)].join(", ");
  chart.set(lines, [times(n, start, step), tail(s.in, n), ...names.map((b) => tail(s.bridges[b].out, n))], `Now: ${words}.`, span);
}
