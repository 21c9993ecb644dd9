// How long a page is shown, and what ends with that.

import * as live from "./live.js";

// Stay is a page that is shown.
export class Stay {
  constructor() {
    this.ended = new AbortController();
    this.signal = this.ended.signal;
    this.ends = [];
  }

  // on is live.on as long as the page is shown; the state that is known comes at
  // once.
  on(kind, f) {
    this.ends.push(live.on(kind, f));
    if (kind === "state" && live.last) f(live.last);
  }

  // every asks at once and then again, ms after each answer, while somebody looks
  // and the gateway answers. ask may return another time until the next. The
  // function that it returns asks at once.
  every(ms, ask, failed) {
    let timer = 0;
    let asking = false;
    let again = false; // somebody wants another answer than the one that comes
    let held = false;
    const next = async () => {
      clearTimeout(timer);
      held = document.hidden || live.link.state === "lost";
      again = asking;
      if (asking || held || this.signal.aborted) return;
      asking = true;
      let wait = ms;
      try {
        wait = (await ask(this.signal)) || ms;
        if (failed) failed(null);
      } catch (e) {
        if (!this.signal.aborted && failed) failed(e);
      }
      asking = false;
      if (!this.signal.aborted) timer = setTimeout(next, again ? 0 : wait);
    };
    this.on("link", (link) => held && link.state === "up" && next());
    this.ends.push(() => clearTimeout(timer));
    next();
    return next;
  }

  // atEnd calls f when the page is left.
  atEnd(f) {
    this.ends.push(f);
  }

  end() {
    this.ended.abort();
    this.ends.forEach((f) => f());
  }
}
