// What the gateway's words for states mean: ok, warn, bad, idle.

// bridgeState is the sign of a bridge's state.
export function bridgeState(word) {
  if (word === "online") return "ok";
  if (word === "connecting" || word === "stopped") return "idle";
  return word === "stalled" ? "warn" : "bad";
}

// adapterState is the sign of an adapter's state.
export const adapterState = (a) => (a.ready ? "ok" : "warn");

// worst is the worst of states, for a sign that stands for all.
export const worst = (states) => ["bad", "warn"].find((s) => states.includes(s)) || "ok";
