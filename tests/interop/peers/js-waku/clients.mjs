// Many js-waku relays in one process, all at one node, every other by yamux and by mplex: node clients.mjs --node MULTIADDR --count N
// [--every MS] [--cluster N] [--shard N]. The first publishes a message of 1 KB every so often. One JSON object a line: `ready` once all are
// connected, then each second `state`: how many are connected, have been left, have joined; messages published, and all arrivals of them.
import "./lib/polyfill.mjs";
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { multiaddr } from "@multiformats/multiaddr";
import { relayNode } from "./lib/node.mjs";
import { build, encode } from "./lib/wire.mjs";

const { values: flag } = parseArgs({ options: {
  node: { type: "string" }, count: { type: "string", default: "300" }, every: { type: "string", default: "2000" },
  cluster: { type: "string", default: "0" }, shard: { type: "string", default: "0" },
} });
const [count, cluster, shard] = [flag.count, flag.cluster, flag.shard].map(Number);
const topic = `/waku/2/rs/${cluster}/${shard}`;
const AT_ONCE = 5; // connections being set up: handshakes are slow in JavaScript, and the node lets few wait

const out = (event, fields) => process.stdout.write(JSON.stringify({ event, t: Date.now(), ...fields }) + "\n");
const complain = (e) => console.error(`clients: ${e?.message ?? e}`);
process.on("unhandledRejection", complain);

let [left, published, arrived] = [0, 0, 0];
const address = multiaddr(flag.node);
const nodes = [];

async function join(n) {
  const node = await relayNode({ cluster, shards: [shard], listen: [], muxer: n % 2 ? "mplex" : "yamux" });
  node.libp2p.addEventListener("peer:disconnect", () => { left++; });
  node.relay.gossipSub.addEventListener("gossipsub:message", () => { arrived++; });
  node.relay.join(topic);
  await node.libp2p.dial(address);
  nodes.push(node);
}

async function publish() {
  const message = build("/clients/1/trickle/proto", undefined, {});
  message.payload = randomBytes(1024);
  await nodes[0].relay.gossipSub.publish(topic, encode(message), { allowPublishToZeroTopicPeers: true });
  published++;
}

process.stdin.on("end", () => process.exit(0)).resume();
for (let n = 0; n < count; n += AT_ONCE) await Promise.all([...Array(Math.min(AT_ONCE, count - n)).keys()].map((k) => join(n + k)));
const state = () => ({
  connected: nodes.filter(({ libp2p }) => libp2p.getConnections().length > 0).length, left, published, arrived,
  meshed: nodes.filter(({ relay }) => relay.getMeshPeers(topic).length > 0).length,
});
out("ready", state());
setInterval(() => out("state", state()), 1_000);
setInterval(() => publish().catch(complain), Number(flag.every));
