// Many js-waku relays in one process, all at one node, every other by yamux and by mplex: node clients.mjs --node MULTIADDR --count N
// [--every MS] [--cluster N] [--shard N] [--filter]. The first publishes a message of 1 KB every so often. One JSON object a line: `ready` once
// all are connected, then each second `state`: how many are connected, have been left, have joined; messages published, and all arrivals of them.
// With --filter they are the SDK's light nodes, subscribed to what a relay beside them publishes; then each arrival is a push.
import "./lib/polyfill.mjs";
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { multiaddr } from "@multiformats/multiaddr";
import { createRoutingInfo } from "@waku/utils";
import { lightNode, networkConfig, relayNode } from "./lib/node.mjs";
import { build, encode, openDecoder } from "./lib/wire.mjs";

const { values: flag } = parseArgs({ options: {
  node: { type: "string" }, count: { type: "string", default: "300" }, every: { type: "string" },
  cluster: { type: "string", default: "0" }, shard: { type: "string", default: "0" },
  filter: { type: "boolean", default: false },
} });
const [count, cluster, shard] = [flag.count, flag.cluster, flag.shard].map(Number);
const topic = `/waku/2/rs/${cluster}/${shard}`;
const contentTopic = "/clients/1/trickle/proto";
// A push takes a stream of its own, and 300 of them take this one process most of a second.
const every = Number(flag.every ?? (flag.filter ? 10_000 : 2_000));
const AT_ONCE = 5; // connections being set up: handshakes are slow in JavaScript, and the node lets few wait

const out = (event, fields) => process.stdout.write(JSON.stringify({ event, t: Date.now(), ...fields }) + "\n");
const complain = (e) => console.error(`clients: ${e?.message ?? e}`);
process.on("unhandledRejection", complain);

let [left, published, arrived] = [0, 0, 0];
const address = multiaddr(flag.node);
const nodes = [];

// js-libp2p ends a connection by itself when its ping of it and js-waku's keep-alive come in the same millisecond ("too many outbound protocol
// streams", it allows one). Here a connection that ends is to be the node's doing.
const unwatched = true;
const muxer = (n) => (n % 2 ? "mplex" : "yamux");
const watched = (node) => {
  node.libp2p.addEventListener("peer:disconnect", () => { left++; });
  return node;
};

async function relay(n) {
  const node = watched(await relayNode({ cluster, shards: [shard], listen: [], muxer: muxer(n), unwatched }));
  node.relay.gossipSub.addEventListener("gossipsub:message", () => { if (!flag.filter) arrived++; });
  node.relay.join(topic);
  await node.libp2p.dial(address);
  return node;
}

/** A light node, subscribed. Pushes are counted before the SDK sees them, which drops a second one of a message. */
async function subscriber(n) {
  const options = { cluster, listen: [], muxer: muxer(n), unwatched };
  const { libp2p, waku } = watched(await lightNode(options));
  const core = waku.filter.protocol;
  const inner = core.handleIncomingMessage;
  core.handleIncomingMessage = (...push) => { arrived++; return inner(...push); };
  const identified = new Promise((known) => libp2p.addEventListener("peer:identify", known, { once: true }));
  await waku.dial(address);
  await identified;
  const routing = createRoutingInfo(networkConfig(options), { contentTopic, shardId: shard });
  const decoder = openDecoder(contentTopic, { ...routing, pubsubTopic: topic });
  if (!(await waku.filter.subscribe([decoder], () => {}))) throw new Error(`client ${n} is not subscribed`);
  return { libp2p };
}

async function publish() {
  const message = build(contentTopic, undefined, {});
  message.payload = randomBytes(1024);
  published++; // before it can arrive anywhere
  const { recipients } = await publisher.relay.gossipSub.publish(topic, encode(message), { allowPublishToZeroTopicPeers: true });
  if (!recipients.length) published--;
}

process.stdin.on("end", () => process.exit(0)).resume();
const join = flag.filter ? subscriber : relay;
for (let n = 0; n < count; n += AT_ONCE) nodes.push(...await Promise.all([...Array(Math.min(AT_ONCE, count - n)).keys()].map((k) => join(n + k))));
const publisher = flag.filter ? await relay(count) : nodes[0];
const state = () => ({
  connected: nodes.filter(({ libp2p }) => libp2p.getConnections().length > 0).length, left, published, arrived,
  meshed: nodes.filter(({ relay }) => relay?.getMeshPeers(topic).length > 0).length,
});
out("ready", state());
setInterval(() => out("state", state()), 1_000);
setInterval(() => publish().catch(complain), every);
