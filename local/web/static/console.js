// What the pages need beyond HTML: they stay up to date, and their buttons and forms send JSON.
// A page comes whole from the server. When something has changed, it is fetched again, and of it the parts with
// `data-live` are exchanged.

const lost = document.getElementById("lost");
const failed = document.getElementById("failed");

/** How long ago a time was, or how soon it will be. */
function age(iso) {
  const seconds = Math.round((Date.now() - new Date(iso)) / 1000);
  if (seconds < -5) return new Date(iso).toLocaleString();
  if (seconds < 60) return `${Math.max(0, seconds)} s ago`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : new Date(iso).toLocaleString();
}

function showAges() {
  for (const time of document.querySelectorAll("time")) time.textContent = age(time.dateTime);
}

// --- Up to date -----------------------------------------------------------------------------------------------------

let busy = false;
let wanted = false;

/** Exchange the live parts for those of the page as it is now; calls during an exchange become one more. */
async function refresh() {
  wanted = true;
  if (busy) return;
  busy = true;
  try {
    while (wanted) {
      wanted = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      await new Promise((resolve) => setTimeout(resolve, 300)); // under load, twice or three times a second is enough
    }
  } catch {
    lost.hidden = false;
  } finally {
    busy = false;
  }
}

function exchange(now) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = now.getElementById(part.id);
    if (!fresh || part.dataset.shown === fresh.innerHTML) continue;
    const focused = part.contains(document.activeElement) ? pathTo(document.activeElement) : null;
    const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
    part.dataset.shown = fresh.innerHTML;
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) part.querySelector(focused)?.focus();
  }
  showAges();
}

/** A selector by which the same link or button is found again. */
function pathTo(element) {
  for (const name of ["href", "data-url"]) {
    if (element.hasAttribute(name)) return `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  }
  return null;
}

// One connection per page that is looked at: browsers allow six to a server.
let events = null;

function connect() {
  const parts = new Set([...document.querySelectorAll("[data-live]")].flatMap((part) => part.dataset.live.split(" ")));
  if (events || document.hidden || parts.size === 0) return;
  events = new EventSource("/api/events");
  events.onopen = () => { lost.hidden = true; refresh(); };
  events.onerror = () => { lost.hidden = false; };
  events.addEventListener("change", (event) => { if (parts.has(event.data)) refresh(); });
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect();
  events?.close();
  events = null;
});

// --- Buttons and forms ----------------------------------------------------------------------------------------------

/** Send what `element` says, with the text that `bodyOf` returns. Goes to `data-then` afterwards, or brings this page up to date. */
async function send(element, bodyOf) {
  const { method, url, confirm: question, then, match } = element.dataset;
  if (question && !confirm(question)) return;
  failed.hidden = true;
  const headers = { "Content-Type": "application/json", ...(match ? { "If-Match": match } : {}) };
  try {
    const answer = await fetch(url, { method, headers, body: bodyOf(element) });
    const result = answer.status === 204 ? {} : await answer.json();
    if (!answer.ok) throw new Error(result.error);
    if (then) location.href = then.replace("{id}", encodeURIComponent(result.id));
    else await refresh();
    if (match) element.dataset.match = answer.headers.get("ETag");
    if (result.response) announce(result.response);
  } catch (error) {
    announce(error.message);
  }
}

function announce(text) {
  failed.textContent = text;
  failed.hidden = false;
}

/** The JSON of a form: names with dots are paths, several fields of one name make a list, an empty field is
 *  left out, `data-whole` is all of it. */
function bodyOfForm(form) {
  const whole = form.querySelector("[data-whole]");
  if (whole) return JSON.stringify(JSON.parse(whole.value)); // says where it is no JSON
  const body = {};
  const lists = new Set([...form.querySelectorAll("[type=checkbox], [data-lines]")].map((field) => field.name));
  for (const name of lists) body[name] = [];
  for (const field of form.elements) {
    const skipped = !field.name || (["radio", "checkbox"].includes(field.type) && !field.checked);
    if (skipped) continue;
    if ("lines" in field.dataset) body[field.name].push(...field.value.split("\n"));
    else if (lists.has(field.name)) body[field.name].push(field.value);
    else if (field.value !== "") put(body, field.name.split("."), field.type === "number" ? Number(field.value) : field.value);
  }
  return JSON.stringify(body);
}

function put(body, path, value) {
  const [name, ...rest] = path;
  if (rest.length === 0) body[name] = value;
  else put((body[name] ??= {}), rest, value);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-method]");
  if (button) send(button, () => (button.dataset.method === "DELETE" ? undefined : "{}"));
});

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.method) return;
  event.preventDefault();
  send(event.target, bodyOfForm);
});

showAges();
setInterval(showAges, 1000);
connect();
