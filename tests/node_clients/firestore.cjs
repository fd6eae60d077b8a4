// What applications do with Firestore on a server, through firebase-admin or @google-cloud/firestore. Each case has a
// collection of its own and returns what must be the same on every Firestore.
"use strict";

function library(name) {
  if (name === "firebase-admin") {
    const { initializeApp } = require("firebase-admin/app");
    const api = require("firebase-admin/firestore");
    const app = initializeApp();
    return { api, connect: (id) => (id ? api.getFirestore(app, id) : api.getFirestore(app)) };
  }
  const api = require("@google-cloud/firestore");
  return { api, connect: (databaseId) => new api.Firestore({ databaseId }) };
}

const ids = (snapshot) => snapshot.docs.map((document) => document.id);
const range = (count) => Array.from({ length: count }, (_, number) => number);
const AUTO_IDS = ["0a", "9z", "A", "Z9", "Qx", "a", "_x", "zz", "00", "__id7__", "__id-7__"];

function followed(target, show, steps) {
  // Waits for each state in turn, as `show` shows snapshots, and then does what is to lead to the next one. Returns the
  // snapshots that had these states.
  return new Promise((resolve, reject) => {
    const snapshots = [];
    const stop = target.onSnapshot((snapshot) => {
      const [state, act] = steps[snapshots.length];
      if (JSON.stringify(show(snapshot)) !== JSON.stringify(state)) {
        return;
      }
      snapshots.push(snapshot);
      if (snapshots.length === steps.length) {
        stop();
        resolve(snapshots);
      } else {
        act().catch(reject);
      }
    }, reject);
  });
}

function open(name) {
  const { api, connect } = library(name);
  const { AggregateField, FieldPath, FieldValue, Filter, Timestamp } = api;
  const db = connect();
  let collections = 0;
  // The libraries take turns on the same Firestore.
  const fresh = () => db.collection(`${name.replace(/\W/g, "-")}-${collections++}`);

  async function filled(data, identifiers) {
    const collection = fresh();
    const batch = db.batch();
    data.forEach((fields, number) => batch.set(collection.doc(identifiers ? identifiers[number] : `d${number}`), fields));
    await batch.commit();
    return collection;
  }

  const cases = {
    "add and get": async () => {
      const document = await fresh().add({ n: 1, at: FieldValue.serverTimestamp() });
      const snapshot = await document.get();
      return [snapshot.exists, snapshot.get("n"), snapshot.get("at") instanceof Timestamp, document.id.length];
    },
    "create twice": async () => {
      const document = fresh().doc("a");
      await document.create({});
      await document.create({});
    },
    "set with merge and mergeFields": async () => {
      const document = fresh().doc("a");
      await document.set({ a: { b: 1, c: 2 }, d: 3 });
      await document.set({ a: { b: 9 } }, { merge: true });
      await document.set({ a: { c: 8 }, d: 7 }, { mergeFields: ["a.c"] });
      return (await document.get()).data();
    },
    "update what has changed": async () => {
      const document = fresh().doc("a");
      const { writeTime } = await document.set({ n: 1 });
      await document.update({ n: 2 }, { lastUpdateTime: writeTime });
      await document.update({ n: 3 }, { lastUpdateTime: writeTime });
    },
    "update of nothing": () => fresh().doc("a").update({ n: 1 }),
    "transforms": async () => {
      const document = fresh().doc("a");
      await document.set({ n: 1, list: [1, 2], gone: true });
      await document.update({
        n: FieldValue.increment(2), list: FieldValue.arrayUnion(2, 3), gone: FieldValue.delete(), "x.y": 1,
      });
      await document.update({ list: FieldValue.arrayRemove(1) });
      return (await document.get()).data();
    },
    "a batch of 500": async () => {
      const collection = await filled(range(500).map((n) => ({ n })));
      const batch = db.batch();
      (await collection.get()).docs.forEach((document) => batch.update(document.ref, { n: FieldValue.increment(1) }));
      await batch.commit();
      return (await collection.aggregate({ sum: AggregateField.sum("n"), count: AggregateField.count() }).get()).data();
    },
    "bulkWriter with a conflict": async () => {
      const collection = await filled([{}, {}]);
      const writer = db.bulkWriter();
      const failed = [];
      writer.onWriteError((error) => {
        failed.push([error.code, error.documentRef.id]);
        return false;
      });
      range(200).forEach((n) => writer.create(collection.doc(`d${n}`), { n }).catch(() => {}));
      await writer.close();
      return [failed.sort(), (await collection.count().get()).data().count];
    },
    "getAll with a field mask": async () => {
      const collection = await filled([{ a: 1, b: { c: 2, d: 3 } }]);
      const found = await db.getAll(collection.doc("d0"), collection.doc("none"), { fieldMask: ["b.c"] });
      return found.map((snapshot) => [snapshot.id, snapshot.exists, snapshot.data()]);
    },
    "where": async () => {
      const collection = await filled([
        { n: 1, tags: ["a"] }, { n: 2, tags: ["a", "b"] }, { n: 3.5 }, { n: null }, { n: NaN }, { other: 1 }, { n: "2" },
      ]);
      const filters = [
        ["n", "==", 2], ["n", "!=", 2], ["n", "in", [1, "2"]], ["n", "not-in", [1, 2]], ["n", ">", 1], ["n", "<=", 2],
        ["n", "==", null], ["n", "!=", null], ["n", "==", NaN], ["tags", "array-contains", "b"],
        ["tags", "array-contains-any", ["b", "x"]],
      ];
      return Promise.all(filters.map(async (filter) => ids(await collection.where(...filter).get())));
    },
    "or": async () => {
      const collection = await filled([{ a: 1 }, { b: 1 }, { a: 2, b: 2 }]);
      return ids(await collection.where(Filter.or(Filter.where("a", "==", 1), Filter.where("b", "==", 2))).get());
    },
    "select, offset, limitToLast": async () => {
      const collection = await filled(range(6).map((n) => ({ n, text: "x" })));
      const some = await collection.orderBy("n", "desc").select("n").offset(1).limit(2).get();
      return [some.docs.map((document) => document.data()), ids(await collection.orderBy("n").limitToLast(2).get())];
    },
    "pages in both directions": async () => {
      const collection = await filled(range(7).map((n) => ({ n: n % 3 })));
      const pages = [];
      for (const query of [collection.orderBy("n"), collection.orderBy("n", "desc"), collection.orderBy("__name__")]) {
        const first = await query.limit(3).get();
        const second = await query.startAfter(first.docs[2]).limit(3).get();
        const third = await query.startAfter(second.docs[2]).get();
        const before = await query.endBefore(second.docs[0]).get();
        pages.push([first, second, third, before].map(ids));
      }
      const last = await collection.orderBy("n").limitToLast(3).get();
      const before = await collection.orderBy("n").endBefore(last.docs[0]).limitToLast(3).get();
      return [...pages, ids(last), ids(before)];
    },
    "a range of ids": async () => {
      const collection = await filled(AUTO_IDS.map(() => ({})), AUTO_IDS);
      const inside = collection.where(FieldPath.documentId(), ">=", "9").where(FieldPath.documentId(), "<", "a");
      return [ids(await collection.get()), ids(await inside.get())];
    },
    "a collection group": async () => {
      const collection = await filled([{}, {}]);
      const group = `${collection.id}-group`;
      for (const n of range(4)) {
        await collection.doc(`d${n % 2}`).collection(group).doc(`e${n}`).set({ n });
      }
      const query = db.collectionGroup(group).orderBy("n");
      return [ids(await query.get()), ids(await query.startAfter(1).limit(2).get())];
    },
    "stream": async () => {
      const collection = await filled(range(20).map((n) => ({ n })));
      let sum = 0;
      for await (const document of collection.stream()) {
        sum += document.get("n");
      }
      return sum;
    },
    "count, sum, average": async () => {
      const collection = await filled([{ n: 1, m: 1 }, { n: 2.5 }, { n: "x" }, { m: 4 }]);
      const all = { count: AggregateField.count(), sum: AggregateField.sum("n"), average: AggregateField.average("n") };
      return [
        (await collection.aggregate(all).get()).data(),
        (await collection.aggregate({ sum: AggregateField.sum("n"), other: AggregateField.sum("m") }).get()).data(),
        (await collection.limit(2).count().get()).data(),
        (await fresh().aggregate(all).get()).data(),
      ];
    },
    "listCollections and listDocuments": async () => {
      const collection = await filled([{ n: 1 }]);
      await collection.doc("missing").collection("sub").doc("x").set({});
      const listed = await collection.listDocuments();
      return [listed.map((document) => document.id), (await collection.doc("missing").listCollections()).map((c) => c.id)];
    },
    "recursiveDelete of a collection": async () => {
      const collection = await filled(AUTO_IDS.map(() => ({})), AUTO_IDS);
      const neighbours = ["-", "0", "a"].map((suffix) => db.collection(`${collection.id}${suffix}`).doc("A"));
      await Promise.all(neighbours.map((document) => document.set({})));
      for (const id of AUTO_IDS) {
        await collection.doc(id).collection("sub").doc(id).set({});
      }
      for (const _ of range(20)) {
        await collection.add({});
      }
      await db.recursiveDelete(collection);
      const left = await Promise.all(neighbours.map((document) => document.get()));
      return [(await collection.listDocuments()).length, left.map((snapshot) => snapshot.exists)];
    },
    "recursiveDelete of a document": async () => {
      const collection = await filled([{}, {}]);
      await collection.doc("d0").collection("sub").doc("A").collection("deep").doc("9").set({});
      await collection.doc("d1").collection("sub").doc("A").set({});
      await db.recursiveDelete(collection.doc("d0"));
      return [ids(await collection.get()), (await collection.doc("d0").listCollections()).length];
    },
    "a transaction that reads while others write": async () => {
      const collection = await filled([{ n: 0 }, { n: 0 }, { n: 0 }]);
      const [a, b, c] = range(3).map((n) => collection.doc(`d${n}`));
      let others;
      const read = await db.runTransaction(async (transaction) => {
        const first = (await transaction.get(a)).get("n");
        if (others === undefined) {
          // Where transactions lock what they read, this write waits for the transaction: it must not be awaited.
          others = a.update({ n: FieldValue.increment(10) });
          await b.update({ n: FieldValue.increment(10) });
        }
        const [second] = await transaction.getAll(b);
        const all = await transaction.get(collection);
        const counted = await transaction.get(collection.count());
        transaction.update(c, { n: first + 1 });
        return [second.get("n"), all.size, counted.data().count];
      });
      await others;
      const [now] = await db.getAll(a);
      return [read, now.get("n"), [1, 11].includes((await c.get()).get("n"))];
    },
    "5 transactions that conflict": async () => {
      const document = fresh().doc("a");
      await document.set({ n: 0 });
      const add = async (transaction) => {
        const { n } = (await transaction.get(document)).data();
        transaction.update(document, { n: n + 1 });
      };
      await Promise.all(range(5).map(() => db.runTransaction(add, { maxAttempts: 20 })));
      return (await document.get()).data();
    },
    "a transaction that fails": async () => {
      const document = fresh().doc("a");
      const failed = await db
        .runTransaction(async (transaction) => {
          await transaction.get(document);
          transaction.set(document, {});
          throw new Error("on purpose");
        })
        .catch((error) => error.message);
      return [failed, (await document.get()).exists];
    },
    "a read-only transaction in the past": async () => {
      const document = fresh().doc("a");
      const { writeTime } = await document.set({ n: 1 });
      await document.set({ n: 2 });
      const read = async (transaction) => (await transaction.get(document)).data();
      const now = await db.runTransaction(read, { readOnly: true });
      return [now, await db.runTransaction(read, { readOnly: true, readTime: writeTime })];
    },
    "a listener on a document": async () => {
      const document = fresh().doc("a");
      const states = await followed(document, (snapshot) => snapshot.data() ?? null, [
        [null, () => document.set({ n: 1 })],
        [{ n: 1 }, () => document.delete()],
        [null],
      ]);
      return states.map((snapshot) => snapshot.exists);
    },
    "a listener on a query": async () => {
      const collection = await filled(range(3).map((n) => ({ n })));
      const query = collection.where("n", ">", 0).orderBy("n").limit(2);
      const states = await followed(query, ids, [
        [["d1", "d2"], () => collection.doc("d0").update({ n: 0.5 })],
        [["d0", "d1"], () => collection.doc("d1").delete()],
        [["d0", "d2"], () => collection.doc("d9").set({ n: 1 })],
        [["d0", "d9"]],
      ]);
      return states.map((snapshot) => snapshot.docs.map((one) => one.data()));
    },
    "a second database": async () => {
      const other = connect("second");
      const collection = fresh();
      await other.collection(collection.id).doc("a").set({ n: 1 });
      const found = [await other.collection(collection.id).get(), await collection.get()];
      await other.terminate();
      return found.map((snapshot) => snapshot.size);
    },
    "a bundle": async () => {
      const collection = await filled([{ n: 1 }, { n: 2 }]);
      const bundle = db.bundle("b").add("all", await collection.get()).build().toString();
      return (bundle.match(/"documentMetadata"/g) ?? []).length;
    },
    "explain": async () => {
      const collection = await filled([{ n: 1 }]);
      return (await collection.explain({ analyze: true })).snapshot.size;
    },
    "findNearest": async () => {
      const collection = await filled([{ v: FieldValue.vector([1, 0]) }, { v: FieldValue.vector([0, 1]) }]);
      const options = { vectorField: "v", queryVector: [1, 0], limit: 1, distanceMeasure: "EUCLIDEAN" };
      return ids(await collection.findNearest(options).get());
    },
    "getPartitions": async () => {
      for await (const partition of db.collectionGroup("group").getPartitions(2)) {
        return Boolean(partition);
      }
      return false;
    },
  };
  return { cases, close: () => db.terminate() };
}

module.exports = { open };
