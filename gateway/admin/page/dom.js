// Elements, made and kept. What is shown changes each second, so nodes are kept and
// only their text is changed: focus, selection and scroll positions stay.

const svgSpace = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// h makes an element of HTML. Attributes called on… are listeners; children are
// nodes, text, or arrays of these.
export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

// svg makes an element of SVG, likewise.
export const svg = (name, attributes, ...children) => fill(document.createElementNS(svgSpace, name), attributes, children);

// attribute sets an attribute, if it has another value; false, null: none.
export function attribute(node, name, value) {
  if (value === false || value === null || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

// text sets the text of a node, if it has another one.
export function text(node, value) {
  const s = value === null || value === undefined ? "" : String(value);
  if (node.textContent !== s) node.textContent = s;
}

// keyed gives a function that shows a list of things in parent: one node for each
// key, kept as long as the key is there, in the order of the list. make(thing)
// gives {node, update(thing)}. Things of one key are told apart by their order.
export function keyed(parent, key, make) {
  let known = new Map();
  return (things) => {
    const now = new Map();
    for (const thing of things) {
      let k = String(key(thing));
      while (now.has(k)) k += "'";
      const part = known.get(k) || make(thing);
      part.update(thing);
      now.set(k, part);
    }
    for (const [k, part] of known) if (!now.has(k)) part.node.remove();
    let at = parent.firstChild;
    for (const { node } of now.values()) {
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
    }
    known = now;
  };
}

// Shapes of states: colour alone would tell some people nothing.
const shapes = {
  ok: { d: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z", word: "fine" },
  warn: { d: "M6 .8 11.6 11H.4z", word: "needs a look" },
  bad: { d: "M1 1h10v10H1z", word: "wrong" },
  idle: { d: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1zm0 1.8a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 1 1 0-6.4z", word: "idle" },
};

// mark is the sign of a state (ok, warn, bad, idle) before a word that says it.
export function mark(state) {
  const path = svg("path");
  const node = svg("svg", { class: "mark", viewBox: "0 0 12 12", "aria-hidden": "true" }, path);
  const set = (s) => {
    const shape = shapes[s] || shapes.idle;
    attribute(node, "data-state", shapes[s] ? s : "idle");
    attribute(path, "d", shape.d);
  };
  set(state);
  return { node, set };
}

// shapeOf is the outline of a state's sign, 12 units wide.
export const shapeOf = (state) => (shapes[state] || shapes.idle).d;

// stateLine is a mark and its word.
export function stateLine(state, word) {
  const sign = mark(state);
  const label = h("span", {}, word || "");
  return {
    node: h("span", { class: "state" }, sign.node, label),
    set(s, w) {
      sign.set(s);
      text(label, w);
    },
  };
}

// figure is a number with its name above and a remark below.
export function figure(name) {
  const value = h("span", { class: "value" });
  const unit = h("span", { class: "unit" });
  const note = h("span", { class: "note" });
  const label = h("dt", {}, name);
  return {
    node: h("div", { class: "figure" }, label, h("dd", {}, h("span", { class: "number" }, value, unit), note)),
    set(v, u, n) {
      text(value, v);
      text(unit, u ? ` ${u}` : "");
      text(note, n || "");
    },
  };
}

// facts is a list of names and values; set takes [name, value] pairs.
export function facts(kind = "facts") {
  const node = h("dl", { class: kind });
  const show = keyed(node, (f) => f[0], (f) => {
    const value = h("dd");
    return { node: h("div", {}, h("dt", {}, f[0]), value), update: (g) => text(value, g[1]) };
  });
  return { node, set: show };
}

// table makes a table whose rows are kept by key. Columns are {name, class, cell}
// where cell(thing, node) fills a cell. In narrow windows each row is a block
// with the columns' names.
export function table(caption, columns, key) {
  const body = h("tbody");
  const empty = h("p", { class: "empty" });
  const show = keyed(body, key, () => {
    const cells = columns.map((c) => h("td", { class: c.class, "data-name": c.name }));
    return {
      node: h("tr", {}, cells),
      update: (thing) => columns.forEach((c, i) => c.cell(thing, cells[i])),
    };
  });
  const grid = h("table", {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.class }, c.name)))),
    body);
  return {
    node: h("div", { class: "table" }, grid, empty),
    set(things, nothing) {
      show(things);
      grid.hidden = things.length === 0;
      text(empty, things.length === 0 ? nothing : "");
      empty.hidden = things.length > 0;
    },
  };
}

// field is an input, which has an id, after its label; choice is a box to tick,
// before it.
export const field = (name, input) => h("span", { class: "field" }, h("label", { for: input.id }, name), input);
export const choice = (input, name) => h("span", { class: "field" }, input, h("label", { for: input.id }, name));

// section is a part of a page with its heading.
export function section(title, ...children) {
  const id = `part-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}
