// What is written to the card, by day.

import { get } from "../api.js";
import { figure, h, table, text } from "../dom.js";
import { count, size, sized } from "../format.js";
import { trouble } from "../dialog.js";

// wear makes the figures and the days.
export function wear(stay) {
  const today = figure("Written today");
  const start = figure("Since the start");
  const syncs = figure("Syncs since the start");
  const error = trouble();
  const days = table("Written by day", [
    { name: "Day", class: "time", cell: (d, node) => text(node, d.day) },
    { name: "Written", class: "number", cell: (d, node) => text(node, size(d.written_bytes)) },
    { name: "Syncs", class: "number", cell: (d, node) => text(node, count(d.syncs)) },
  ], (d) => d.day);
  stay.every(30_000, async (signal) => {
    const w = await get("wear", signal);
    const over = w.budget_bytes > 0 && w.today_written_bytes > w.budget_bytes;
    today.set(...sized(w.today_written_bytes), w.budget_bytes ? `${over ? "OVER the budget of" : "of a budget of"} ${size(w.budget_bytes)}` : "no budget is set (queue.write_budget)");
    start.set(...sized(w.written_bytes), "");
    syncs.set(count(w.syncs), "", "");
    days.set([...w.days].reverse(), "No day is over yet.");
  }, error.set);
  return { node: h("div", {}, error.node, h("dl", { class: "figures" }, today.node, start.node, syncs.node), h("details", {}, h("summary", {}, "By day"), days.node)) };
}
