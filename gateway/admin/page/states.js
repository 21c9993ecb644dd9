// What the gateway's words for states mean: ok, warn, bad, idle.

// bridgeState is the sign of a bridge's state.
export function bridgeState(word) {
  if (word === "online") return "ok";
  if (word === "connecting" || word === "stopped") return "idle";
  return word === "stalled" ? "warn" : "bad";
}

// kindOf tells problems apart, whatever their numbers are at the moment.
export const kindOf = (problem) => `${problem.of} ${problem.what.replaceAll(/\d+/g, "#")}`;

// wrongWith are the problems of an adapter.
export const wrongWith = (name, problems) => problems.filter((p) => p.of === `adapter/${name}`);

// adapterState is the sign of an adapter's state.
export const adapterState = (a, problems) => (a.ready && wrongWith(a.name, problems).length === 0 ? "ok" : "warn");

// worst is the worst of states, for a sign that stands for all.
export const worst = (states) => ["bad", "warn"].find((s) => states.includes(s)) || "ok";
