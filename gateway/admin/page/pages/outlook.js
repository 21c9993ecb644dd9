// What is to come, as figures: [number, unit, remark].

import { span } from "../format.js";

const longest = 30 * 86400; // seconds: what is later is a guess
const unknown = (v) => v === null || v === undefined;

// drainedIn is when nothing will wait for bridges any more.
export function drainedIn(bridges) {
  const busy = bridges.filter((b) => b.waiting > 0);
  if (busy.length === 0) return ["—", "", "nothing waits"];
  const endless = busy.filter((b) => unknown(b.drained_in_seconds));
  const without = endless.find((b) => b.state !== "online") || endless[0];
  if (without) return ["unknown", "", without.state === "online" ? "as much comes in as goes out" : `${without.name} is ${without.state}`];
  return [span(Math.max(...busy.map((b) => b.drained_in_seconds))), "", "as it drains now"];
}

// fullIn is when the disk queue will take no more.
export function fullIn(disk) {
  if (disk.full_in_seconds === undefined) return ["unknown", "", ""];
  if (disk.full_in_seconds === null) return ["—", "", "it does not fill"];
  if (disk.full_in_seconds <= 0) return ["now", "", "there is no room left"];
  if (disk.full_in_seconds > longest) return ["—", "", "not within 30 days"];
  return [span(disk.full_in_seconds), "", "as it fills now"];
}
