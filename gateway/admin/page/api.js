// Questions to the gateway.

// A session that is over leads to the login, and back to the same page.
export function toLogin() {
  sessionStorage.setItem("page", location.hash);
  location.assign("/login");
}

async function ask(path, options) {
  const answer = await fetch(`/v1/${path}`, options);
  if (answer.status === 401) {
    toLogin();
    return new Promise(() => {}); // the page goes
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `${answer.status} ${answer.statusText}`);
}

// get asks for what is at a path of the API.
export const get = async (path, signal) => (await ask(path, { signal })).json();

// lines asks for JSON Lines; a line with an error is an error.
export async function lines(path, signal) {
  const all = (await (await ask(path, { signal })).text()).split("\n").filter(Boolean).map((l) => JSON.parse(l));
  const bad = all.find((l) => l.error);
  if (bad) throw new Error(bad.error);
  return all;
}

// post asks for a change.
export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Packetboat": "1" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}
