// The colours that were chosen, before anything is shown.
"use strict";

{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // storage is not allowed: those of the system
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
