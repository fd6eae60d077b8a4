import { age, element, fetchJson, keepFresh, size } from "./common.js";

const list = document.getElementById("mails");
const article = document.getElementById("mail");
const frame = document.getElementById("html");
const source = document.getElementById("source");
const tabs = [...document.querySelectorAll("[role=tab]")];

let opened = null; // the displayed mail
let listed = ""; // the data of the last rendering

async function refresh() {
  const mails = await fetchJson("/api/messages");
  document.getElementById("empty").hidden = mails.length > 0;
  const now = JSON.stringify([opened?.number, ...mails.map((mail) => mail.number)]);
  if (now === listed) return; // replacing the list would lose the keyboard focus
  listed = now;
  list.replaceChildren(...mails.map(entry));
}

function entry(mail) {
  const button = element("button", { type: "button", onclick: () => open(mail.number) },
    element("span", { className: "subject" }, mail.subject || "(no subject)"),
    element("span", { className: "who" }, mail.recipients.join(", ")),
    element("time", { dateTime: mail.received, title: mail.received }, age(mail.received)),
    element("span", { className: "who" }, mail.attachments ? `${mail.attachments} attached` : ""),
  );
  if (mail.number === opened?.number) button.setAttribute("aria-current", "true");
  return element("li", {}, button);
}

async function open(number) {
  opened = await fetchJson(`/api/messages/${number}`);
  history.replaceState(null, "", `#${number}`);
  const fields = {
    ...opened,
    subject: opened.subject || "(no subject)",
    received: new Date(opened.received).toLocaleString(),
    envelope: `${opened.sender || "<>"} → ${opened.recipients.join(", ")}`,
  };
  for (const place of article.querySelectorAll("[data-field]")) place.textContent = fields[place.dataset.field];
  document.getElementById("attachments").replaceChildren(...opened.attachments.map(attachment));
  for (const tab of tabs) {
    const missing = opened[tab.dataset.view] === null;
    tab.disabled = missing;
    tab.title = missing ? "This mail has no such part" : "";
  }
  article.hidden = false;
  await show(opened.html !== null ? "html" : "text");
  await refresh();
}

function attachment(part, index) {
  const href = `/api/messages/${opened.number}/attachments/${index}`;
  return element("li", {}, element("a", { href, download: part.name }, part.name), ` ${part.type}, ${size(part.size)}`);
}

async function show(view) {
  for (const tab of tabs) tab.setAttribute("aria-selected", tab.dataset.view === view);
  frame.hidden = view !== "html";
  source.hidden = view === "html";
  if (view === "html") {
    frame.src = `/api/messages/${opened.number}/html`;
  } else if (view === "raw") {
    source.textContent = await (await fetch(`/api/messages/${opened.number}/raw`)).text();
  } else if (view === "headers") {
    source.textContent = opened.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  } else {
    source.textContent = opened.text ?? "";
  }
}

for (const tab of tabs) tab.addEventListener("click", () => show(tab.dataset.view));

document.getElementById("clear").addEventListener("click", async () => {
  await fetchJson("/api/messages", { method: "DELETE" });
  opened = null;
  article.hidden = true;
  history.replaceState(null, "", location.pathname);
  await refresh();
});

keepFresh(refresh);
if (/^#\d+$/.test(location.hash)) open(Number(location.hash.slice(1))).catch(() => {});
