// New problems, read out to who does not see them come, on whatever page.

import { say } from "./dialog.js";
import * as live from "./live.js";
import { kindOf } from "./states.js";

const forgotten = 60_000; // ms: what is back before that is not new

// announce has screen readers say what becomes wrong from now on.
export function announce() {
  const seen = new Map(); // kinds of problems, and when they were last there
  let first = true;
  live.on("state", ({ status }) => {
    const now = Date.now();
    const fresh = status.problems.filter((p) => !(now - seen.get(kindOf(p)) < forgotten));
    for (const p of status.problems) seen.set(kindOf(p), now);
    if (!first && fresh.length > 0) say(`A new problem: ${fresh.map((p) => p.what).join("; ")}`);
    first = false;
  });
}
