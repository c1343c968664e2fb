// js-waku's light node in a page: filter, lightpush and store as the SDK has them, and requests that make no sense as single frames.
// The address says what to do: ?node=MULTIADDR&muxer=yamux|mplex&cluster=N&shards=COUNT&topic=CONTENTTOPIC
import { yamux } from "@chainsafe/libp2p-yamux";
import { mplex } from "@libp2p/mplex";
import { multiaddr } from "@multiformats/multiaddr";
import { proto_filter_v2 as F, proto_lightpush as P, proto_store as S } from "@waku/proto";
import { createLightNode } from "@waku/sdk";
import { build, request, show as told } from "../lib/wire.mjs";

const $ = (id) => document.getElementById(id);
const given = Object.fromEntries(new URLSearchParams(location.search));
const muxers = { yamux, mplex };
const PAGE = 7; // messages of history that are asked for at a time
const CODEC = {
  filter: "/vac/waku/filter-subscribe/2.0.0-beta1", store: "/vac/waku/store-query/3.0.0", push: "/vac/waku/lightpush/3.0.0",
};

function state(name, text) {
  $("state").dataset.state = name;
  $("state").textContent = text;
}

/** A line of its own for each, so that a second one of the same message is seen. */
function line(list, { payload }) {
  const item = document.createElement("li");
  item.textContent = new TextDecoder().decode(payload);
  $(list).append(item);
}

/** Runs on submission, one at a time; `answer` is empty until it has ended, then says how. */
function onSubmit(form, run) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    $("answer").textContent = "";
    try { $("answer").textContent = await run(); } catch (error) { $("answer").textContent = `failed: ${error.message}`; }
  });
}

/** What a node refuses, each as the one frame that asks for it; gives the status and its words. */
function refusals(libp2p, peer, pubsubTopic) {
  const [requestId, contentTopic] = ["an-id", given.topic];
  const many = (count) => [...Array(count).keys()].map((n) => `/app/1/${n}/proto`);
  const ask = async (codec, question, answer, frame) => {
    const read = answer.decode(await request(libp2p, peer, codec, question.encode({ requestId, ...frame })));
    return `${read.statusCode} ${read.requestId} ${read.statusDesc ?? ""}`;
  };
  const push = (frame) => ask(CODEC.push, P.LightPushRequestV3, P.LightPushResponseV3, { pubsubTopic, ...frame });
  const filter = (frame) => ask(CODEC.filter, F.FilterSubscribeRequest, F.FilterSubscribeResponse, { pubsubTopic, contentTopics: [], ...frame });
  const store = (frame) => ask(CODEC.store, S.StoreQueryRequest, S.StoreQueryResponse, { includeData: true, pubsubTopic, contentTopics: [], messageHashes: [], paginationForward: true, ...frame });
  return {
    "lightpush-nothing": () => push({}),
    "lightpush-large": () => push({ message: build(contentTopic, undefined, { size: 160_000 }) }),
    "lightpush-shard": () => push({ pubsubTopic: `/waku/2/rs/${given.cluster}/5`, message: build(contentTopic, "00", {}) }),
    "lightpush": () => push({ message: build(contentTopic, "00", {}) }),
    "filter-ping": () => filter({ filterSubscribeType: "SUBSCRIBER_PING" }),
    "filter-nothing": () => filter({ filterSubscribeType: "SUBSCRIBE" }),
    "filter-many": () => filter({ filterSubscribeType: "SUBSCRIBE", contentTopics: many(101) }),
    "store-many": () => store({ contentTopics: many(11) }),
    "store-cursor": () => store({ paginationCursor: new Uint8Array(31) }),
    "store-nowhere": () => store({ paginationCursor: new Uint8Array(32) }),
  };
}

async function start() {
  state("connecting", "connecting");
  const waku = await createLightNode({
    networkConfig: { clusterId: Number(given.cluster), numShardsInCluster: Number(given.shards) },
    defaultBootstrap: false, discovery: { dns: false, peerExchange: false, peerCache: false }, userAgent: "js-waku in a page", autoStart: true,
    libp2p: { hideWebSocketInfo: true, filterMultiaddrs: false, streamMuxers: [muxers[given.muxer]()] }, // plain ws, not only wss
  });
  const { libp2p, filter, lightPush, store } = waku;
  const [encoder, decoder] = [waku.createEncoder({ contentTopic: given.topic }), waku.createDecoder({ contentTopic: given.topic })];
  const identified = new Promise((known) => libp2p.addEventListener("peer:identify", known, { once: true }));
  libp2p.addEventListener("peer:disconnect", () => state("failed", "the node is gone"));
  await waku.dial(multiaddr(given.node));
  await identified;
  const [connection] = libp2p.getConnections();

  const asked = refusals(libp2p, connection.remotePeer, encoder.pubsubTopic);
  $("what").append(...Object.keys(asked).map((name) => new Option(name)));
  onSubmit("refused", () => asked[$("what").value]());

  onSubmit("push", async () => {
    const payload = new TextEncoder().encode($("text").value);
    const { successes, failures } = await lightPush.send(encoder, { payload }, { autoRetry: false, useLegacy: $("version").value !== "3.0.0" });
    return successes.length ? "pushed" : `not pushed: ${failures.map((failure) => failure.error).join(", ")}`;
  });

  onSubmit("query", async () => {
    $("history").replaceChildren();
    const paginationForward = $("order").value === "forward";
    const pages = [];
    for await (const page of store.queryGenerator([decoder], { paginationForward, paginationLimit: PAGE, peerId: connection.remotePeer })) {
      pages.push((await Promise.all(page)).filter(Boolean));
    }
    // Within a page the oldest comes first either way.
    (paginationForward ? pages : pages.reverse()).flat().forEach((message) => line("history", message));
    return `${pages.length} pages`;
  });

  // Before the SDK, which drops a second one of a message for a minute.
  const core = filter.protocol;
  const inner = core.handleIncomingMessage;
  core.handleIncomingMessage = (pubsubTopic, message, peer) => {
    if (told(pubsubTopic, message).contentTopic === given.topic) line("messages", message);
    return inner(pubsubTopic, message, peer);
  };
  onSubmit("subscribe", async () => ((await filter.subscribe([decoder], () => {})) ? "subscribed" : "not subscribed"));
  state("ready", `${encoder.pubsubTopic}, ${connection.multiplexer}`);
}
start().catch((error) => state("failed", error.message));
