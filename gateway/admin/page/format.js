// Numbers as people read them: grouped, with units, of the same width from one
// second to the next.

const grouped = new Intl.NumberFormat("en");

// figures is a number to two or three of them.
const figures = (v) => (v < 99.95 ? v.toFixed(1).replace(/\.0$/, "") : String(Math.round(v)));

const full = 0.9995; // of a unit: rounded, it is one

// count is a whole number.
export const count = (n) => grouped.format(Math.round(n || 0));

// short is a count in some five characters.
export function short(n) {
  if (n < 1e4) return count(n);
  const [unit, sign] = [[1e9, "G"], [1e6, "M"]].find(([u]) => n >= u * full) || [1e3, "k"];
  return `${figures(n / unit)} ${sign}`;
}

// plural is a count and what is counted.
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + "s"}`;

// perSecond is a rate without its unit.
export function perSecond(r) {
  if (!r) return "0";
  if (r < 0.1) return "<0.1";
  return r < 100 ? figures(r) : short(r);
}

// rate is a rate with its unit.
export const rate = (r) => `${perSecond(r)}/s`;

const sizes = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

// sized is an amount of bytes as [number, unit].
export function sized(bytes) {
  for (const [unit, name] of sizes) {
    if (bytes >= unit * (name === "KiB" ? 1 : full)) return [figures(bytes / unit), name];
  }
  return [count(bytes), "bytes"];
}

// size is an amount of bytes.
export const size = (bytes) => sized(bytes).join(" ");

const spans = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

// span is a time of so many seconds, to two units.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  const s = Math.round(seconds);
  for (const [unit, name, part, small] of spans) {
    if (s >= unit) {
      const rest = Math.floor((s % unit) / part);
      return `${Math.floor(s / unit)} ${name}${rest ? ` ${rest} ${small}` : ""}`;
    }
  }
  return `${s} s`;
}

// isTime reports whether a time is one: RFC 3339 has the year 1 for none.
export const isTime = (t) => Boolean(t) && !t.startsWith("0001-");

const two = (n) => String(n).padStart(2, "0");

// clock is the time of day, local.
export function clock(t) {
  const d = new Date(t);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

// moment is the date and the time of day, local.
export function moment(t) {
  if (!isTime(t)) return "never";
  const d = new Date(t);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(t)}`;
}

// ago is how long a time is past.
export const ago = (t) => (isTime(t) ? `${past(t)} ago` : "never");

// ahead is in what time it will be a time.
export const ahead = (t) => `in ${span(Math.max(0, (new Date(t) - Date.now()) / 1000))}`;

// past is how long it is since a time.
export const past = (t) => span(Math.max(0, (Date.now() - new Date(t)) / 1000));

// words is a name of the API in words: messages_in, "messages in".
export const words = (name) => name.replaceAll("_", " ");

// sum adds the numbers of an object.
export const sum = (o) => Object.values(o || {}).reduce((a, b) => a + b, 0);

// payload is that of a message as text: what is none stays base64.
export const payload = (m) => (m.text !== undefined && m.text !== null ? m.text : m.base64 ? `base64 ${m.base64}` : "");
