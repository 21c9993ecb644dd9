// What the gateway says by itself: one stream of events for the page, none while
// nobody looks at it.

import { get } from "./api.js";

const silence = 10_000; // ms without an event: the connection is dead
const longest = 15_000; // ms between two attempts

const listeners = { state: new Set(), log: new Set(), link: new Set() };
let source = null;
let timer = 0;
let tries = 0;
let renewed = false; // since the last event

// link is how the connection is: connecting, up, lost or paused; when the last
// event came, and why it is lost, where the gateway says.
export const link = { state: "connecting", heard: 0, why: "" };

// last is what the last event of the state said; null: none yet.
export let last = null;

// on calls f for each event of a kind (state, log, link) until the function that
// it returns is called.
export function on(kind, f) {
  listeners[kind].add(f);
  return () => listeners[kind].delete(f);
}

const tell = (kind, what) => listeners[kind].forEach((f) => f(what));

function become(state) {
  link.state = state;
  tell("link", link);
}

function close() {
  clearTimeout(timer);
  if (source) source.close();
  source = null;
}

// ended renews a stream that was fine: the gateway ends each one now and then.
function ended() {
  if (link.state !== "up" || renewed) {
    lost();
    return;
  }
  renewed = true;
  open();
}

function lost() {
  close();
  link.why = "";
  become("lost");
  ask();
  timer = setTimeout(open, Math.min(longest, 1000 * 2 ** tries++));
}

// ask finds out whether it is the stream alone that fails. A session that is over
// leads to the login.
async function ask() {
  try {
    await get("status");
  } catch {
    return;
  }
  if (link.state !== "lost") return;
  link.why = "It answers, but it sends no events: perhaps too many pages show it already.";
  become("lost");
}

function heard() {
  clearTimeout(timer);
  timer = setTimeout(lost, silence);
  tries = 0;
  renewed = false;
  link.heard = Date.now();
  if (link.state !== "up") become("up");
}

function open() {
  close();
  source = new EventSource("/v1/events");
  timer = setTimeout(lost, silence);
  source.onerror = ended;
  source.addEventListener("state", (e) => {
    last = JSON.parse(e.data);
    heard();
    tell("state", last);
  });
  source.addEventListener("log", (e) => tell("log", JSON.parse(e.data)));
}

// retry tries again at once.
export function retry() {
  tries = 0;
  open();
}

function look() {
  if (document.hidden) {
    close();
    become("paused");
  } else if (!source) {
    become(link.heard ? "paused" : "connecting");
    retry();
  }
}

// start begins to listen, while the page is looked at.
export function start() {
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", close);
  addEventListener("pageshow", look);
  look();
}
