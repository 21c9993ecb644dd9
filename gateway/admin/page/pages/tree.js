// A tree of topics of which only the rows in sight are elements: some thousand
// topics cost no more than a screen of them.

import { attribute, h, text } from "../dom.js";
import { count } from "../format.js";

const rowHeight = 32; // px, as in parts.css
const inOrder = new Intl.Collator("en", { numeric: true }); // room-2 before room-10
const spare = 8; // rows above and below

// tree makes the tree. value(leaf) writes what stands behind a name; chosen is told
// the node that is selected.
export function tree(name, value, chosen) {
  const space = h("div", { class: "rows" });
  const box = h("div", { class: "tree", role: "tree", tabindex: "0", "aria-label": name }, space);
  const root = { name: "", path: "", children: new Map(), leaf: null, count: 0 };
  const open = new Set();
  const pool = [];
  let rows = [];
  let selected = null; // a path; that of a topic that begins with / begins with ""
  let everything = false;

  const build = (topics) => {
    root.children = new Map();
    root.count = topics.length;
    for (const t of topics) insert(root, t);
  };

  const flatten = () => {
    rows = [];
    const walk = (node, level) => {
      const children = [...node.children.values()].sort((a, b) => inOrder.compare(a.name, b.name));
      children.forEach((c, i) => {
        rows.push({ node: c, level, place: i + 1, of: children.length });
        if (c.children.size > 0 && (everything || open.has(c.path))) walk(c, level + 1);
      });
    };
    walk(root, 1);
    space.style.height = `${rows.length * rowHeight}px`;
    box.style.setProperty("--whole", `${rows.length * rowHeight + 2}px`); // with its border
  };

  const draw = () => {
    const from = Math.max(0, Math.floor(box.scrollTop / rowHeight) - spare);
    const to = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / rowHeight) + spare);
    while (pool.length < to - from) pool.push(makeRow(space, pool.length));
    pool.forEach((p, i) => p.set(from + i < to ? rows[from + i] : null, from + i, selected, isOpen, value));
    const at = rows.findIndex((r) => r.node.path === selected);
    attribute(box, "aria-activedescendant", at >= from && at < to ? `row-${at - from}` : null);
  };
  const isOpen = (n) => everything || open.has(n.path);
  const refresh = () => {
    flatten();
    draw();
  };

  const select = (i) => {
    const r = rows[Math.max(0, Math.min(rows.length - 1, i))];
    if (!r) return;
    selected = r.node.path;
    const top = rows.indexOf(r) * rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
    draw();
    chosen(r.node);
  };
  const toggle = (n, on) => {
    if (n.children.size === 0 || everything) return;
    if (on) open.add(n.path);
    else open.delete(n.path);
    refresh();
  };

  let pending = 0;
  box.addEventListener("scroll", () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(draw);
  }, { passive: true });
  const watch = new ResizeObserver(draw);
  watch.observe(box);
  box.addEventListener("click", (e) => {
    const part = e.target.closest("[role=treeitem]");
    if (!part) return;
    const i = Number(part.dataset.row);
    if (rows[i].node.children.size > 0) toggle(rows[i].node, !open.has(rows[i].node.path));
    select(i);
  });
  box.addEventListener("focus", () => selected ?? select(0));
  box.addEventListener("keydown", (e) => {
    const i = rows.findIndex((r) => r.node.path === selected);
    const at = rows[i];
    const page = Math.max(1, Math.floor(box.clientHeight / rowHeight) - 1);
    const jump = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: rows.length - 1, PageDown: i + page, PageUp: i - page }[e.key];
    if (jump !== undefined) select(jump);
    else if (!at) return;
    else if (e.key === "ArrowRight") isOpen(at.node) && at.node.children.size ? select(i + 1) : toggle(at.node, true);
    else if (e.key === "ArrowLeft") isOpen(at.node) && at.node.children.size && !everything ? toggle(at.node, false) : select(parentOf(rows, i));
    else if (e.key === "Enter" || e.key === " ") toggle(at.node, !open.has(at.node.path));
    else return;
    e.preventDefault();
  });
  return {
    node: box,
    // set shows topics; all: every branch is open, since they were searched for.
    set(topics, all) {
      everything = all;
      build(topics);
      if (!all && open.size === 0 && root.children.size === 1) open.add([...root.children.values()][0].path);
      refresh();
      const r = rows.find((x) => x.node.path === selected);
      if (r) chosen(r.node);
    },
    end: () => watch.disconnect(),
  };
}

function insert(root, t) {
  let node = root;
  let path = "";
  for (const level of t.topic.split("/")) {
    path = node === root ? level : `${path}/${level}`;
    let next = node.children.get(level);
    if (!next) {
      next = { name: level, path, children: new Map(), leaf: null, count: 0 };
      node.children.set(level, next);
    }
    next.count++;
    node = next;
  }
  node.leaf = t;
}

function parentOf(rows, i) {
  for (let k = i - 1; k >= 0; k--) if (rows[k].level < rows[i].level) return k;
  return i;
}

function makeRow(space, i) {
  const twist = h("span", { class: "twist", "aria-hidden": "true" });
  const name = h("span", { class: "level" });
  const more = h("span", { class: "soft many" });
  const content = h("span", { class: "latest" });
  const node = h("div", { role: "treeitem", id: `row-${i}`, class: "row" }, twist, name, more, content);
  space.append(node);
  return {
    set(r, at, selected, isOpen, value) {
      node.hidden = !r;
      if (!r) return;
      const branch = r.node.children.size > 0;
      node.style.transform = `translateY(${at * rowHeight}px)`;
      node.style.paddingLeft = `${(r.level - 1) * 18 + 8}px`;
      attribute(node, "data-row", at);
      attribute(node, "aria-level", r.level);
      attribute(node, "aria-setsize", r.of);
      attribute(node, "aria-posinset", r.place);
      attribute(node, "aria-expanded", branch ? String(isOpen(r.node)) : null);
      attribute(node, "aria-selected", String(r.node.path === selected));
      text(twist, branch ? (isOpen(r.node) ? "▾" : "▸") : "");
      text(name, r.node.name === "" ? "(empty)" : r.node.name);
      text(more, branch ? count(r.node.count) : "");
      text(content, r.node.leaf ? value(r.node.leaf) : "");
    },
  };
}
