// Questions before something that cannot be undone, and what came of it.

import { h, text } from "./dom.js";

// say has a screen reader say something, once.
export const say = (what) => text(document.getElementById("said"), what);

// confirmed asks whether to do something; act does it, and its error is shown where
// the question was. It gives what act gave, or undefined: not wanted.
export function confirmed(title, words, verb, act) {
  const error = h("p", { class: "bad", role: "alert" });
  const yes = h("button", { class: "danger", type: "button" }, verb);
  const no = h("button", { type: "button" }, "Cancel");
  const box = h("dialog", { "aria-labelledby": "question", "aria-describedby": "consequence" },
    h("h2", { id: "question" }, title),
    h("p", { id: "consequence" }, words),
    error,
    h("p", { class: "choice" }, no, yes));
  document.body.append(box);
  return new Promise((done) => {
    let result;
    box.addEventListener("close", () => {
      box.remove();
      done(result);
    });
    no.addEventListener("click", () => box.close());
    yes.addEventListener("click", async () => {
      yes.disabled = true;
      try {
        result = await act();
        box.close();
      } catch (e) {
        text(error, e.message);
        yes.disabled = false;
      }
    });
    box.showModal();
    no.focus();
  });
}

// trouble is a place for the error of a request that is repeated.
export function trouble() {
  const node = h("p", { class: "bad", role: "alert", hidden: true });
  return {
    node,
    set(error) {
      node.hidden = !error;
      text(node, error ? `The gateway does not say: ${error.message}` : "");
    },
  };
}
