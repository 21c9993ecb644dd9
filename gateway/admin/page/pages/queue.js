// The disk queue: over time, by consumer, what was lost, and the card's wear.

import { get } from "../api.js";
import { figure, h, section } from "../dom.js";
import { count, short, size, sized, span } from "../format.js";
import { trouble } from "../dialog.js";
import { gapList } from "./gaps.js";
import { history } from "./history.js";
import { ledgers } from "./ledgers.js";
import { wear } from "./wear.js";

export function show(root, stay) {
  const figures = {
    disk: figure("On the disk"),
    full: figure("Full in"),
    waiting: figure("Waiting"),
    drained: figure("Drained in"),
    lost: figure("Lost"),
    free: figure("Free space"),
    sync: figure("Slowest sync"),
  };
  const failed = h("p", { class: "bad", role: "alert", hidden: true });
  const time = history(stay);
  const error = trouble();
  const ledger = ledgers(() => again());
  const gaps = gapList();
  const card = wear(stay);
  root.append(failed,
    h("dl", { class: "figures" }, Object.values(figures).map((f) => f.node)),
    section("Over time", time.node),
    section("Ledgers", h("p", { class: "soft" }, "Of each queue: accepted = delivered + waiting + lost."), error.node, ledger.node),
    section("Gaps", h("p", { class: "soft" }, "Messages that a queue did not get, and why. The cloud is told the same."), gaps.node),
    section("Wear", card.node));

  const again = stay.every(3000, async (signal) => {
    const started = Date.now();
    const all = await get("queues", signal);
    ledger.set(all.queues);
    gaps.set(all.gaps);
    return Math.max(3000, 20 * (Date.now() - started)); // of many sessions, less often
  }, error.set);

  stay.on("state", ({ status }) => {
    const disk = status.disk;
    failed.hidden = !disk.failed;
    failed.textContent = disk.failed ? `The disk queue takes no writes: ${disk.failed}` : "";
    const unknown = (v) => v === null || v === undefined;
    figures.disk.set(...sized(disk.bytes), disk.max_size ? `of ${size(disk.max_size)} (${((100 * disk.bytes) / disk.max_size).toFixed(1)} %)` : "no limit");
    figures.full.set(unknown(disk.full_in_seconds) ? "—" : span(disk.full_in_seconds), "", unknown(disk.full_in_seconds) ? "it does not fill" : "as it fills now");
    const waiting = status.bridges.reduce((a, b) => a + b.waiting, 0);
    const oldest = Math.max(0, ...status.bridges.map((b) => b.oldest_seconds));
    figures.waiting.set(short(waiting), "", waiting ? `for bridges, the oldest for ${span(oldest)}` : "nothing, for bridges");
    const draining = status.bridges.filter((b) => b.waiting > 0);
    const times = draining.map((b) => b.drained_in_seconds);
    figures.drained.set(draining.length === 0 ? "—" : times.some(unknown) ? "unknown" : span(Math.max(...times)), "", draining.length === 0 ? "nothing waits" : "as it drains now");
    figures.lost.set(short(status.lost || 0), "", status.lost ? "messages; see the gaps below" : "nothing, ever");
    figures.free.set(...(unknown(disk.free_bytes) ? ["unknown", ""] : sized(disk.free_bytes)), "on the file system");
    figures.sync.set(disk.slowest_sync_seconds < 1 ? count(disk.slowest_sync_seconds * 1000) : disk.slowest_sync_seconds.toFixed(1), disk.slowest_sync_seconds < 1 ? "ms" : "s", `${count(disk.segments)} segments`);
  });
}
