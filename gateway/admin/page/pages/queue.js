// The disk queue: over time, by consumer, what was lost, and the card's wear.

import { get } from "../api.js";
import { figure, h, section } from "../dom.js";
import { count, plural, short, size, sized, span } from "../format.js";
import { trouble } from "../dialog.js";
import { gapList } from "./gaps.js";
import { history } from "./history.js";
import { ledgers } from "./ledgers.js";
import { drainedIn, fullIn } from "./outlook.js";
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
    figures.disk.set(...sized(disk.bytes), disk.max_size ? `of ${size(disk.max_size)} (${((100 * disk.bytes) / disk.max_size).toFixed(1)}\u00a0%)` : "no limit");
    figures.full.set(...fullIn(disk));
    const waiting = status.bridges.reduce((a, b) => a + b.waiting, 0);
    const oldest = Math.max(0, ...status.bridges.map((b) => b.oldest_seconds));
    figures.waiting.set(short(waiting), "", waiting ? `for bridges, the oldest for ${span(oldest)}` : "nothing, for bridges");
    figures.drained.set(...drainedIn(status.bridges));
    figures.lost.set(short(status.lost || 0), "", status.lost ? `${status.lost === 1 ? "message" : "messages"}; see the gaps below` : "nothing, ever");
    figures.free.set(...(disk.free_bytes >= 0 ? sized(disk.free_bytes) : ["—", ""]), "on the file system");
    figures.sync.set(...syncTime(disk.slowest_sync_seconds), plural(disk.segments, "segment"));
  });
}

// syncTime is a time of some milliseconds as [number, unit].
function syncTime(seconds) {
  if (seconds >= 1) return [seconds.toFixed(1), "s"];
  return [seconds < 0.001 ? "<1" : count(seconds * 1000), "ms"];
}
