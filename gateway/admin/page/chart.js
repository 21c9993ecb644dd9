// Lines over time, drawn by uPlot, which is loaded when the first chart is.

import { h, svg, text } from "./dom.js";
import { moment } from "./format.js";

let library = null;

function load() {
  library ||= new Promise((done, failed) => {
    const style = h("link", { rel: "stylesheet", href: "/page/vendor/uplot-1.6.32/uPlot.min.css" });
    const script = h("script", { src: "/page/vendor/uplot-1.6.32/uPlot.iife.min.js" });
    script.addEventListener("load", () => done(globalThis.uPlot));
    script.addEventListener("error", () => failed(new Error("the charts could not be loaded")));
    document.head.append(style, script);
  });
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Lines are told apart by their dashes and names, since colours are for states.
const dashes = [[], [6, 4], [2, 3], [10, 4, 2, 4], [14, 4], [6, 3, 2, 3, 2, 3]];
const soft = (line, i) => line.soft || i >= dashes.length; // the second time round

// chart makes a chart of lines {name, dash, soft, fill} whose values format writes.
// The grid has one of steps between its lines. set takes the lines,
// [times, values of the first line, …] with times in seconds, the same in a
// sentence, and the first and last time to show.
export function chart(name, format, height, steps) {
  const holder = h("div", { class: "plot", role: "img" });
  const legend = h("div", { class: "legend" });
  const words = h("p", { class: "note" });
  const node = h("figure", { class: "chart", "aria-label": name }, h("figcaption", {}, name), legend, holder, words);
  let plot = null;
  let shape = "";
  let latest = null;

  const width = () => Math.max(200, holder.clientWidth);

  function options(lines) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 4 }, font: `12px ${getComputedStyle(document.body).fontFamily}` };
    return {
      width: width(), height, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      padding: [8, 20, 0, 0],
      scales: { x: { time: true, range: () => latest.span }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      axes: [
        { ...axis, size: 30, space: 70, values: times },
        { ...axis, size: 72, space: 36, incrs: steps, values: (u, ticks) => ticks.map(format) },
      ],
      series: [{}, ...lines.map((l, i) => ({
        label: l.name, stroke: colour(soft(l, i) ? "--soft" : "--text"), width: 1.5, dash: l.dash || dashes[i % dashes.length], spanGaps: false, points: { show: (u) => u.data[0].length < 3, size: 5 },
        fill: l.fill ? `${colour("--strong")}22` : undefined,
      }))],
      hooks: { setCursor: [read] },
    };
  }

  function read(u) {
    const i = u.cursor.idx;
    const pointed = i !== null && i !== undefined;
    const rows = legend.querySelectorAll("span.now");
    latest.lines.forEach((l, n) => {
      const v = pointed ? latest.data[n + 1][i] : latest.data[n + 1].findLast((x) => x !== null);
      text(rows[n], v === null || v === undefined ? "—" : format(v));
    });
    text(legend.lastChild, pointed ? moment(new Date(latest.data[0][i] * 1000).toISOString()) : "");
  }

  function draw() {
    if (!latest || !globalThis.uPlot || !holder.isConnected) return;
    const now = JSON.stringify(latest.lines);
    if (plot && now === shape) {
      plot.setData(latest.data);
      read(plot);
      return;
    }
    rebuild(now);
  }

  function rebuild(now) {
    shape = now;
    if (plot) plot.destroy();
    legend.replaceChildren(...latest.lines.map((l, i) => {
      const line = svg("path", { d: "M0 2H28", "stroke-dasharray": (l.dash || dashes[i % dashes.length]).join(" ") });
      const key = svg("svg", { class: soft(l, i) ? "key soft" : "key", viewBox: "0 0 28 4", "aria-hidden": "true" }, line);
      return h("span", { class: "entry" }, key, h("span", {}, l.name), h("span", { class: "now" }));
    }), h("span", { class: "when" }));
    plot = new globalThis.uPlot(options(latest.lines), latest.data, holder);
    read(plot);
  }

  const watch = new ResizeObserver(() => plot && plot.width !== width() && plot.setSize({ width: width(), height }));
  watch.observe(holder);
  const recolour = () => {
    shape = "";
    draw();
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", recolour);
  addEventListener("theme", recolour);
  return {
    node,
    async set(lines, data, sentence, span) {
      latest = { lines, data, span };
      text(words, sentence);
      holder.setAttribute("aria-label", `${name}: ${sentence}`);
      try {
        await load();
        draw();
      } catch (e) {
        library = null;
        text(words, `${sentence} (${e.message})`);
      }
    },
    end() {
      watch.disconnect();
      dark.removeEventListener("change", recolour);
      removeEventListener("theme", recolour);
      if (plot) plot.destroy();
    },
  };
}

const two = (n) => String(n).padStart(2, "0");

// times writes the times below a chart: the day where one begins, and seconds only
// where they tell the lines of the grid apart.
function times(u, ticks, axis, space, step) {
  return ticks.map((t) => {
    const d = new Date(t * 1000);
    if (d.getHours() === 0 && d.getMinutes() === 0) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
    const minutes = `${two(d.getHours())}:${two(d.getMinutes())}`;
    return step < 60 ? `${minutes}:${two(d.getSeconds())}` : minutes;
  });
}
