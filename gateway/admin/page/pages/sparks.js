// What came in and went out lately, as two small lines that the page itself keeps.

import { get } from "../api.js";
import { attribute, h, svg, text } from "../dom.js";
import { rate } from "../format.js";

const keep = 300; // seconds
const kept = []; // {at, in, out}: from page to page, while the tab is there

function spark(name) {
  const line = svg("path", { class: "line" });
  const area = svg("path", { class: "area" });
  const picture = svg("svg", { class: "spark", viewBox: "0 0 300 48", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  const words = h("p", { class: "note" });
  const node = h("div", { class: "sparkbox" }, h("h3", {}, name), picture, words);
  return {
    node,
    set(points, pick, now) {
      const highest = Math.max(0, ...points.map(pick));
      const top = highest || 1;
      const at = (p) => `${(300 - (now - p.at) / 1000).toFixed(1)} ${(46 - (pick(p) / top) * 44).toFixed(1)}`;
      const d = points.map((p, i) => `${i ? "L" : "M"}${at(p)}`).join("");
      attribute(line, "d", d);
      attribute(area, "d", points.length > 1 ? `${d}V48H${(300 - (now - points[0].at) / 1000).toFixed(1)}Z` : "");
      const mean = points.reduce((a, p) => a + pick(p), 0) / Math.max(1, points.length);
      text(words, `now ${rate(points.length ? pick(points.at(-1)) : 0)}, mean ${rate(mean)}, highest ${rate(highest)}`);
    },
  };
}

// before fills in what the gateway knows from the time before somebody looked.
async function before(signal) {
  try {
    const { step_seconds: step, from, series } = await get(`history?last=${keep / 10}`, signal);
    const first = kept.length ? kept[0].at : Date.now();
    const older = series.in.map((v, i) => ({
      at: new Date(from).getTime() + i * step * 1000, in: v || 0,
      out: Object.values(series.bridges).reduce((a, b) => a + (b.out[i] || 0), 0),
    }));
    kept.unshift(...older.filter((p) => p.at < first));
  } catch {
    // then the lines begin now
  }
}

// sparks makes both lines.
export function sparks(stay) {
  const inward = spark("Comes in");
  const outward = spark("Goes to the clouds");
  if (kept.length === 0) before(stay.signal);
  stay.on("state", ({ rates }) => {
    const now = Date.now();
    kept.push({ at: now, in: rates.in || 0, out: Object.values(rates.bridges || {}).reduce((a, b) => a + b.out, 0) });
    while (kept.length && now - kept[0].at > keep * 1000) kept.shift();
    inward.set(kept, (p) => p.in, now);
    outward.set(kept, (p) => p.out, now);
  });
  return { node: h("div", { class: "sparks" }, inward.node, outward.node) };
}
