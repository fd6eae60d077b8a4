// What applications do with Pub/Sub, through @google-cloud/pubsub.
"use strict";

const { PubSub } = require("@google-cloud/pubsub");

const range = (count) => Array.from({ length: count }, (_, number) => number);

function open() {
  const pubsub = new PubSub();
  let topics = 0;

  async function pair(settings = {}) {
    const [topic] = await pubsub.createTopic(`node-topic-${topics}`);
    const [subscription] = await topic.createSubscription(`node-subscription-${topics++}`, settings);
    return { topic, subscription };
  }

  function received(subscription, count, handle = (message) => message.ack()) {
    return new Promise((resolve, reject) => {
      const messages = [];
      subscription.on("error", reject);
      subscription.on("message", (message) => {
        messages.push(message);
        handle(message, messages);
        if (messages.length === count) {
          subscription.close().then(() => resolve(messages), reject);
        }
      });
    });
  }

  const cases = {
    "publish and receive": async () => {
      const { topic, subscription } = await pair();
      const all = received(subscription, 20);
      await Promise.all(range(20).map((n) => topic.publishMessage({ json: { n }, attributes: { n: String(n) } })));
      const found = (await all).map((message) => [JSON.parse(message.data).n, message.attributes]);
      return found.sort(([one], [other]) => one - other);
    },
    "ordering keys": async () => {
      const { topic, subscription } = await pair({ enableMessageOrdering: true });
      topic.setPublishOptions({ messageOrdering: true });
      const all = received(subscription, 10);
      await Promise.all(range(10).map((n) => topic.publishMessage({ data: Buffer.from(String(n)), orderingKey: "a" })));
      return (await all).map((message) => String(message.data));
    },
    "what is refused comes again": async () => {
      const { topic, subscription } = await pair();
      const all = received(subscription, 2, (message, before) => (before.length === 1 ? message.nack() : message.ack()));
      await topic.publishMessage({ data: Buffer.from("x") });
      const [first, second] = await all;
      return first.id === second.id;
    },
    "metadata, exists, delete": async () => {
      const { topic, subscription } = await pair({ ackDeadlineSeconds: 33 });
      const [metadata] = await subscription.getMetadata();
      const before = [(await topic.exists())[0], (await subscription.exists())[0]];
      await subscription.delete();
      await topic.delete();
      return [metadata.ackDeadlineSeconds, before, (await topic.exists())[0], (await subscription.exists())[0]];
    },
    "a topic that exists": async () => {
      const { topic } = await pair();
      await pubsub.createTopic(topic.name.split("/").pop());
    },
    "publish to nothing": () => pubsub.topic("node-none").publishMessage({ data: Buffer.from("x") }),
    "snapshots": async () => {
      const { subscription } = await pair();
      const [snapshot] = await subscription.createSnapshot(`node-snapshot-${topics}`);
      return Boolean(snapshot);
    },
  };
  return { cases, close: () => pubsub.close() };
}

module.exports = { open };
