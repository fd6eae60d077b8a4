import { age, element, fetchJson, keepFresh, postJson } from "./common.js";

const STATES = ["NEW", "PENDING", "RETRY", "PROCESSING", "SUCCESS", "ERROR", "CANCELLED"];
const counts = document.getElementById("counts");
const rows = document.getElementById("documents");
const form = document.getElementById("write");
const written = document.getElementById("written");

let shown = ""; // the data of the last rendering

async function refresh() {
  const now = await fetchJson("/console/api/documents");
  if (JSON.stringify(now) === shown) return; // replacing a button would lose a click in progress
  shown = JSON.stringify(now);
  const others = Object.keys(now.counts).filter((state) => !STATES.includes(state));
  counts.replaceChildren(...[...STATES, ...others].map((state) => count(state, now.counts[state] ?? 0)));
  rows.replaceChildren(...now.documents.map(row));
  document.getElementById("empty").hidden = now.documents.length > 0;
  const total = Object.values(now.counts).reduce((sum, number) => sum + number, 0);
  const more = document.getElementById("more");
  more.hidden = total === now.documents.length;
  more.textContent = `The last ${now.documents.length} of ${total}${now.complete ? "" : " or more"} documents.`;
}

function count(state, number) {
  return element("div", { className: `count ${number ? "" : "none"}` },
    element("b", {}, String(number)), badge(state));
}

function badge(state) {
  const made = element("span", { className: "state" }, state);
  made.dataset.state = state;
  return made;
}

function row(mail) {
  const changed = element("time", { dateTime: mail.changed, title: mail.changed }, age(mail.changed));
  return element("tr", {},
    element("td", {}, element("code", {}, mail.id)),
    element("td", {}, badge(mail.state)),
    element("td", {}, mail.attempts === null ? "" : String(mail.attempts)),
    element("td", {}, mail.subject),
    element("td", { className: mail.error ? "failed" : "" }, outcome(mail)),
    element("td", {}, changed),
    element("td", {}, ...buttons(mail)),
  );
}

function outcome(mail) {
  if (mail.error) return mail.errorCode ? `${mail.errorCode}: ${mail.error}` : String(mail.error);
  if (mail.response) return mail.response;
  return mail.nextAttempt && mail.state !== "SUCCESS" ? `not before ${new Date(mail.nextAttempt).toLocaleTimeString()}` : "";
}

function buttons(mail) {
  switch (mail.state) {
    case "SUCCESS": return [button(mail, "retry", "RETRY", "Send again")];
    case "ERROR": return [button(mail, "retry", "RETRY", "Try again")];
    case "CANCELLED": return [button(mail, "retry", "RETRY", "Send after all")];
    case "PROCESSING": return [button(mail, "cancel", "CANCEL", "No further attempt; this one may still send it")];
    case "NEW": case "PENDING": case "RETRY": return [button(mail, "cancel", "CANCEL", "Don't send")];
    default: return [];
  }
}

function button(mail, wish, text, title) {
  const onclick = async () => {
    await postJson(`/console/api/documents/${encodeURIComponent(mail.id)}/${wish}`, {});
    await refresh();
  };
  return element("button", { type: "button", title, onclick }, text);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { to, subject, text } = Object.fromEntries(new FormData(form));
  try {
    const { id } = await postJson("/console/api/documents", { to, message: { subject, text } });
    written.textContent = `Written: ${id}`;
    await refresh();
  } catch (error) {
    written.textContent = error.message;
  }
});

keepFresh(refresh);
