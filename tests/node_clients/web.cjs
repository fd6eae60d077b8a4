// What a web application does, through the web SDK under Node, where it speaks gRPC, and its lite edition, which speaks
// REST.
"use strict";

const { initializeApp } = require("firebase/app");
const sdk = require("firebase/firestore");
const lite = require("firebase/firestore/lite");

function open() {
  const [host, port] = process.env.FIRESTORE_EMULATOR_HOST.split(":");
  const app = initializeApp({ projectId: process.env.GOOGLE_CLOUD_PROJECT });
  const db = sdk.getFirestore(app);
  sdk.setLogLevel("silent");
  sdk.connectFirestoreEmulator(db, host, Number(port));
  const rest = lite.getFirestore(app);
  lite.connectFirestoreEmulator(rest, host, Number(port));
  let collections = 0;
  const fresh = () => sdk.collection(db, `web-${collections++}`);

  const cases = {
    "addDoc and getDoc": async () => {
      const document = await sdk.addDoc(fresh(), { n: 1, at: sdk.serverTimestamp() });
      const snapshot = await sdk.getDocFromServer(document);
      return [snapshot.get("n"), snapshot.get("at") instanceof sdk.Timestamp, snapshot.metadata.hasPendingWrites];
    },
    "setDoc, updateDoc, deleteDoc": async () => {
      const document = sdk.doc(fresh(), "a");
      await sdk.setDoc(document, { n: 1, list: [1] });
      await sdk.updateDoc(document, { n: sdk.increment(2), list: sdk.arrayUnion(2) });
      const before = (await sdk.getDocFromServer(document)).data();
      await sdk.deleteDoc(document);
      return [before, (await sdk.getDocFromServer(document)).exists()];
    },
    "updateDoc of nothing": async () => {
      const collection = fresh();
      const failed = await sdk.updateDoc(sdk.doc(collection, "none"), { n: 1 }).catch((error) => error.code);
      await sdk.setDoc(sdk.doc(collection, "a"), { n: 1 }); // the stream that has failed is replaced
      return [failed, (await sdk.getDocsFromServer(collection)).size];
    },
    "many writes at once": async () => {
      const collection = fresh();
      await Promise.all(Array.from({ length: 100 }, (_, n) => sdk.setDoc(sdk.doc(collection, `d${n}`), { n })));
      const batch = sdk.writeBatch(db);
      batch.update(sdk.doc(collection, "d0"), { n: 1000 });
      batch.delete(sdk.doc(collection, "d1"));
      await batch.commit();
      const aggregate = { sum: sdk.sum("n"), average: sdk.average("n"), count: sdk.count() };
      return (await sdk.getAggregateFromServer(collection, aggregate)).data();
    },
    "runTransaction": async () => {
      const document = sdk.doc(fresh(), "a");
      await sdk.setDoc(document, { n: 0 });
      const add = async (transaction) => {
        transaction.update(document, { n: (await transaction.get(document)).get("n") + 1 });
      };
      await Promise.all([1, 2, 3].map(() => sdk.runTransaction(db, add, { maxAttempts: 20 })));
      return (await sdk.getDocFromServer(document)).data();
    },
    "onSnapshot until it is on the server": async () => {
      const collection = fresh();
      const written = new Promise((resolve, reject) => {
        const stop = sdk.onSnapshot(
          collection,
          { includeMetadataChanges: true },
          (snapshot) => {
            if (snapshot.size === 1 && !snapshot.metadata.hasPendingWrites && !snapshot.metadata.fromCache) {
              stop();
              resolve(snapshot.docs[0].data());
            }
          },
          reject,
        );
      });
      await sdk.setDoc(sdk.doc(collection, "a"), { n: 1 });
      return written;
    },
    "lite": async () => {
      const document = await lite.addDoc(lite.collection(rest, `web-${collections++}`), { n: 1 });
      return (await lite.getDoc(document)).data();
    },
  };
  return { cases, close: () => sdk.terminate(db) };
}

module.exports = { open };
