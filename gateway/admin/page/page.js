// The state of the gateway in words, asked for again and again.
"use strict";

const every = 2000; // ms

const plural = (n, one, many) => n === 1 ? `1 ${one}` : `${n.toLocaleString("en")} ${many}`;

function span(seconds) {
  for (const [unit, name] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= unit) return plural(Math.floor(seconds / unit), name, name + "s");
  }
  return plural(Math.floor(seconds), "second", "seconds");
}

function size(bytes) {
  for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (bytes >= unit) return `${(bytes / unit).toFixed(1)} ${name}`;
  }
  return `${bytes} bytes`;
}

function bridge(b) {
  let text = `${b.state}, ${plural(b.waiting, "message waits", "messages wait")}`;
  if (b.waiting > 0) text += `, the oldest for ${span(b.oldest_seconds)}`;
  return b.error ? `${text} (${b.error})` : text;
}

function facts(s) {
  const list = [
    ["Running", `for ${span(s.uptime_seconds)}, version ${s.version}`],
    ["Disk queue", size(s.disk.bytes) + (s.disk.max_size ? ` of ${size(s.disk.max_size)}` : "")],
    ["MQTT clients", `${s.clients} connected`],
  ];
  if (s.adapters.configured > 0) list.push(["Adapters", `${s.adapters.ready} of ${s.adapters.configured} ready`]);
  for (const b of s.bridges) list.push([`Bridge ${b.name}`, bridge(b)]);
  return list;
}

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

function show(s) {
  document.getElementById("id").textContent = s.id;
  document.getElementById("summary").textContent = s.problems.length === 0 ? "All is well." : "Something needs a look:";
  document.getElementById("problems").replaceChildren(...s.problems.map((p) => {
    const item = document.createElement("li");
    item.append(element("strong", p.what), element("p", p.remedy || ""));
    return item;
  }));
  document.getElementById("facts").replaceChildren(...facts(s).flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
}

async function ask() {
  try {
    const answer = await fetch("/v1/status");
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
  } catch (e) {
    document.getElementById("summary").textContent = `The gateway does not answer (${e.message}). What follows is from before.`;
  }
  setTimeout(ask, every);
}

ask();
