// The way of the messages as a picture: devices, broker, queue, bridges, clouds. In
// wide windows from left to right, in narrow ones from top to bottom, where a column
// may stand beside the one before it.

import { attribute, h, shapeOf, svg, text } from "../dom.js";

const wide = 680; // px, from here on the picture lies
const gap = 10;

// tall is the height of a node: its name and one line, or two.
const tall = (n) => (n.lines.length > 1 ? 64 : 46);
const heightOf = (nodes) => nodes.reduce((a, n) => a + tall(n) + gap, -gap);

// flow makes the picture. set takes columns {title, weight, nodes, beside} of nodes
// {id, title, lines, state, word, href, part} and edges {from, to, state: moving, still or broken}.
export function flow(words) {
  const picture = svg("svg", { class: "flow", role: "group", "aria-label": words });
  const node = h("div", { class: "flowbox" }, picture);
  let shape = "";
  let drawn = { nodes: new Map(), edges: new Map() };
  let latest = null;

  const draw = () => {
    if (!latest || node.clientWidth === 0) return;
    const layout = place(latest.columns, node.clientWidth);
    const now = JSON.stringify([layout, latest.edges.map((e) => [e.from, e.to])]);
    if (now !== shape) {
      shape = now;
      drawn = build(picture, layout, latest);
    }
    for (const n of latest.columns.flatMap((c) => c.nodes)) drawn.nodes.get(n.id)(n);
    for (const e of latest.edges) drawn.edges.get(e.from + e.to)(e);
  };
  const watch = new ResizeObserver(draw);
  watch.observe(node);
  return {
    node,
    set(model) {
      latest = model;
      draw();
    },
    end: () => watch.disconnect(),
  };
}

// place gives each node its box and the picture its size.
function place(columns, width) {
  return width >= wide ? lying(columns, width) : standing(columns, width);
}

function lying(columns, width) {
  const between = Math.max(28, Math.min(56, width * 0.045));
  const weight = columns.reduce((a, c) => a + c.weight, 0);
  const unit = (width - between * (columns.length - 1)) / weight;
  const head = 26;
  const highest = Math.max(...columns.map((c) => heightOf(c.nodes)));
  const boxes = {};
  const heads = [];
  let x = 0;
  for (const c of columns) {
    const w = c.weight * unit;
    heads.push({ text: c.title, x, y: 12 });
    let y = head + (highest - heightOf(c.nodes)) / 2;
    for (const n of c.nodes) {
      boxes[n.id] = { x, y, w, h: tall(n) };
      y += tall(n) + gap;
    }
    x += w + between;
  }
  return { width, height: head + highest + 2, boxes, heads, down: false };
}

function standing(columns, width) {
  const boxes = {};
  const heads = [];
  const firsts = [];
  const half = (width - gap) / 2;
  let y = 0;
  columns.forEach((c, k) => {
    if (c.beside) return;
    const next = columns[k + 1];
    const beside = next && next.beside ? next : null;
    heads.push({ text: c.title, x: 0, y: y + 12 });
    if (beside) heads.push({ text: beside.title, x: half + gap, y: y + 12 });
    y += 22;
    const nodes = beside ? c.nodes.flatMap((n, i) => [n, beside.nodes[i]]) : c.nodes;
    const two = beside || (nodes.length > 2 && width >= 330);
    firsts.push(nodes[0].id);
    nodes.forEach((n, i) => {
      boxes[n.id] = { x: two && i % 2 ? half + gap : 0, y, w: two ? half : width, h: tall(n) };
      if (!two || i % 2 || i === nodes.length - 1) y += tall(n) + 8;
    });
    y += 12;
  });
  return { width, height: y - 18, boxes, heads, down: true, firsts };
}

// build draws everything anew and gives what changes it from then on.
function build(picture, layout, model) {
  attribute(picture, "viewBox", `0 0 ${layout.width} ${layout.height}`);
  attribute(picture, "width", layout.width);
  attribute(picture, "height", layout.height);
  const nodes = new Map();
  const edges = new Map();
  const lines = svg("g", { "aria-hidden": "true" });
  const heads = svg("g", { "aria-hidden": "true" }, layout.heads.map((t) => svg("text", { class: "head", x: t.x, y: t.y }, t.text)));
  const boxes = svg("g");
  for (const e of model.edges) {
    const part = edge(layout, e);
    lines.append(part.node);
    edges.set(e.from + e.to, part.set);
  }
  for (const n of model.columns.flatMap((c) => c.nodes)) {
    const part = box(layout.boxes[n.id]);
    boxes.append(part.node);
    nodes.set(n.id, part.set);
  }
  picture.replaceChildren(lines, heads, boxes);
  return { nodes, edges };
}

function edge(layout, e) {
  const a = layout.boxes[e.from];
  const b = layout.boxes[e.to];
  const down = layout.down && a.y !== b.y;
  const path = svg("path", { d: down ? downward(layout, e, b) : across(a, b) });
  const middle = { x: (a.x + a.w + b.x) / 2, y: (a.y + a.h / 2 + b.y + b.h / 2) / 2 };
  const cross = svg("path", { class: "cross", d: `M${middle.x - 4} ${middle.y - 4}l8 8m0-8l-8 8` });
  const node = svg("g", { class: "edge" }, path, down ? null : cross);
  return {
    node,
    set(now) {
      attribute(node, "data-flow", now.state);
    },
  };
}

function across(a, b) {
  const [x1, y1, x2, y2] = [a.x + a.w, a.y + a.h / 2, b.x, b.y + b.h / 2];
  const m = (x1 + x2) / 2;
  return `M${x1} ${y1}C${m} ${y1} ${m} ${y2} ${x2} ${y2}`;
}

// downward is a short line into the first box of a column from above, beside the
// heading.
function downward(layout, e, b) {
  return layout.firsts.includes(e.to) ? `M${layout.width - 24} ${b.y - 34}V${b.y - 2}` : "";
}

function box(at) {
  const title = svg("text", { class: "name", x: 30, y: 20 });
  const full = svg("title");
  const sign = svg("path", { transform: "translate(11 9.5)" });
  const rows = [svg("text", { x: 12, y: 38 }), svg("text", { x: 12, y: 54 })];
  const bar = svg("rect", { class: "part", x: 0, y: at.h - 4, height: 4, width: 0 });
  const track = svg("rect", { class: "track", x: 0, y: at.h - 4, height: 4, width: at.w });
  const frame = svg("rect", { class: "box", width: at.w, height: at.h, rx: 5 });
  const node = svg("a", { class: "node", transform: `translate(${at.x} ${at.y})` }, full, frame, track, bar, sign, title, rows);
  return {
    node,
    set(n) {
      attribute(node, "href", n.href);
      attribute(node, "data-state", n.state);
      attribute(node, "aria-label", [n.title, n.word, ...n.lines].filter(Boolean).join(", "));
      attribute(sign, "d", shapeOf(n.state));
      text(full, n.title);
      text(title, fit(n.title, at.w - 40, "600 13.5px"));
      rows.forEach((r, i) => text(r, fit(n.lines[i] || "", at.w - 22, "12.5px")));
      const part = n.part === undefined ? 0 : Math.max(0, Math.min(1, n.part));
      track.style.display = bar.style.display = n.part === undefined ? "none" : "";
      attribute(bar, "width", (part * at.w).toFixed(1));
    },
  };
}

const paper = document.createElement("canvas").getContext("2d");

// fit cuts a text to a width in px.
function fit(words, width, font) {
  paper.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  let s = words;
  for (let n = words.length; n > 1 && paper.measureText(s).width > width; ) s = `${words.slice(0, --n)}…`;
  return s;
}
