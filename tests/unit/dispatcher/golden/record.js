// Records what Trigger Email posts to Eventarc, for the Firestore events in eventarc.json, and writes it there.
//
//   npm install firebase-admin@13.10.0 firebase-functions@6.6.0    (anywhere but here)
//   NODE_PATH=.../node_modules node record.js
//
// Each event goes through firebase-functions into a snapshot, and as the extension's events.ts puts it into `data`
// (https://github.com/firebase/extensions/blob/next/firestore-send-email/functions/src/events.ts) through the Channel of
// firebase-admin to a server here.

const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const path = require("path");
const { initializeApp, cert } = require("firebase-admin/app");
const { getEventarc } = require("firebase-admin/eventarc");
const modules = path.resolve(path.dirname(require.resolve("firebase-functions/v2")), "..");
const { createSnapshotFromProtobuf } = require(path.join(modules, "common/providers/firestore.js"));

const FILE = path.join(__dirname, "eventarc.json");
const PREFIX = "firebase.extensions.firestore-send-email.v1.";
const WITH_SNAPSHOT = ["onStart", "onProcessing", "onSuccess", "onComplete"];

process.env.EVENTARC_CLOUD_EVENT_SOURCE = "projects/demo-shop/locations/us-central1/services/processqueue";
process.env.GOOGLE_CLOUD_PROJECT = "demo-shop";
process.env.FIREBASE_CONFIG = '{"projectId": "demo-shop"}';

function credential() {
  const { privateKey } = crypto.generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const made = cert({ projectId: "demo-shop", clientEmail: "a@demo-shop.iam.gserviceaccount.com", privateKey });
  made.getAccessToken = async () => ({ access_token: "t", expires_in: 3600 });
  return made;
}

function dataOf(name, snapshot) {
  if (WITH_SNAPSHOT.includes(name)) return { doc: snapshot };
  const doc = snapshot.data();
  return name === "onError" ? { doc, err: doc.delivery.error } : { doc };
}

async function record(server) {
  process.env.CLOUD_EVENTARC_EMULATOR_HOST = `http://127.0.0.1:${server.address().port}`;
  initializeApp({ projectId: "demo-shop", credential: credential() });
  const channel = getEventarc().channel("locations/europe-west1/channels/firebase");
  const cases = JSON.parse(fs.readFileSync(FILE));
  for (const each of Object.values(cases)) {
    const database = each.database || "(default)";
    const snapshot = createSnapshotFromProtobuf(Buffer.from(each.event, "base64"), "unused", database);
    const type = each.body.events[0].type;
    await channel.publish({ type, subject: snapshot.id, data: dataOf(type.slice(PREFIX.length), snapshot) });
    Object.assign(each, server.last);
  }
  fs.writeFileSync(FILE, JSON.stringify(cases, null, 1) + "\n");
}

const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    server.last = { path: request.url, body: JSON.parse(body) };
    response.end("{}");
  });
});
server.listen(0, "127.0.0.1", () => record(server).finally(() => process.exit()));
