// Shared by both pages. External data becomes text nodes, never markup.

/** A DOM element with properties and children (strings become text). */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** The JSON that `path` answers; an Error when it refuses. */
export async function fetchJson(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.status === 204 ? null : answer.json();
}

/** POST a JSON body. */
export function postJson(path, body) {
  return fetchJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** Run `refresh` now and every second while the page is looked at; say so when the stack is gone. */
export function keepFresh(refresh) {
  const lost = document.getElementById("lost");
  const turn = async () => {
    if (!document.hidden) {
      try {
        await refresh();
        for (const time of document.querySelectorAll("time")) time.textContent = age(time.dateTime);
        lost.hidden = true;
      } catch {
        lost.hidden = false;
      }
    }
    setTimeout(turn, 1000);
  };
  turn();
}

/** How long ago an ISO 8601 time was, for people. */
export function age(iso) {
  const seconds = Math.max(0, Math.round((Date.now() - new Date(iso)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return new Date(iso).toLocaleString();
}

/** A number of bytes, for people. */
export function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KB`;
}
