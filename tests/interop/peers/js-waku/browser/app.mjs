// js-waku with a relay, in a page: the SDK's node, libp2p, encoder and decoder, with the relay of lib/relay.mjs.
// The address says what to do: ?node=MULTIADDR&muxer=yamux|mplex&cluster=N&shards=COUNT&topic=CONTENTTOPIC
import { yamux } from "@chainsafe/libp2p-yamux";
import { mplex } from "@libp2p/mplex";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2pAndUpdateOptions, WakuNode } from "@waku/sdk";
import { Relay, relayService } from "../lib/relay.mjs";

const $ = (id) => document.getElementById(id);
const given = Object.fromEntries(new URLSearchParams(location.search));
const muxers = { yamux, mplex };

function state(name, text) {
  $("state").dataset.state = name;
  $("state").textContent = text;
}

/** Every arrival gets a line of its own, so that a second one of the same message is seen. */
function show(message) {
  const line = document.createElement("li");
  line.textContent = new TextDecoder().decode(message.payload);
  line.dataset.time = message.timestamp?.toISOString() ?? "";
  $("messages").append(line);
}

async function start() {
  state("connecting", "connecting");
  const options = {
    networkConfig: { clusterId: Number(given.cluster), numShardsInCluster: Number(given.shards) },
    defaultBootstrap: false, discovery: { dns: false, peerExchange: false, peerCache: false }, userAgent: "js-waku in a page",
    libp2p: {
      hideWebSocketInfo: true, filterMultiaddrs: false, // plain ws, not only wss
      streamMuxers: [muxers[given.muxer]()], services: { pubsub: relayService() }, start: false,
    },
  };
  const libp2p = await createLibp2pAndUpdateOptions(options);
  const relay = new Relay(libp2p.services.pubsub);
  const waku = new WakuNode(options, libp2p, {}, relay);
  const [encoder, decoder] = [waku.createEncoder({ contentTopic: given.topic }), waku.createDecoder({ contentTopic: given.topic })];
  libp2p.addEventListener("peer:disconnect", () => state("failed", "the node is gone"));
  await waku.start();
  await relay.subscribeWithUnsubscribe(decoder, show);
  await waku.dial(multiaddr(given.node));
  const [connection] = libp2p.getConnections();
  const meshed = () => {
    if (!relay.getMeshPeers(encoder.pubsubTopic).length) return false;
    $("send").querySelector("button").disabled = false;
    state("meshed", `${encoder.pubsubTopic}, ${connection.multiplexer}`);
    return true;
  };
  if (!meshed()) relay.gossipSub.addEventListener("gossipsub:graft", meshed);

  $("send").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $("text").value;
    const { successes } = await relay.send(encoder, { payload: new TextEncoder().encode(text) });
    if (successes.length) $("text").value = "";
    else state("failed", "not sent");
  });
}
start().catch((error) => state("failed", error.message));
