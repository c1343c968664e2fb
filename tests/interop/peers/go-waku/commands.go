package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"google.golang.org/protobuf/proto"

	"github.com/waku-org/go-waku/waku/v2/protocol/pb"
	"github.com/waku-org/go-waku/waku/v2/protocol/relay"
)

const defaultTimeout = 10 * time.Second

// call is one command line: positional words, and the KEY=VALUE words and bare switches that may follow them.
type call struct {
	name string
	args []string
	opt  map[string]string
	ctx  context.Context
}

var switches = map[string]bool{"ephemeral": true, "all": true}
var keys = map[string]bool{"id": true, "timeout": true, "meta": true, "ts": true, "version": true,
	"topic": true, "ct": true, "from": true, "to": true, "limit": true, "dir": true, "cursor": true}

func parse(l string) (*call, error) {
	f := strings.Fields(l)
	c := &call{name: f[0], opt: map[string]string{}}
	for _, w := range f[1:] {
		k, v, eq := strings.Cut(w, "=")
		switch {
		case switches[w]:
			c.opt[w] = "1"
		case eq && keys[k]:
			c.opt[k] = v
		case eq && !strings.HasPrefix(w, "/"):
			return c, fmt.Errorf("unknown option %q", k)
		default:
			c.args = append(c.args, w)
		}
	}
	return c, nil
}

type command struct {
	min    int  // positional words needed
	remote bool // runs beside the others: it waits for another peer
	usage  string
	do     func(*app, *call) (M, error)
}

var commands map[string]command

func init() {
	commands = map[string]command{
		"sub":        {1, false, "PUBSUBTOPIC", (*app).cmdSub},
		"unsub":      {1, false, "PUBSUBTOPIC", (*app).cmdUnsub},
		"pub-sealed": {4, false, "PUBSUBTOPIC CONTENTTOPIC KEYSPEC HEXPAYLOAD [as pub]", (*app).cmdPubSealed},
		"open":       {1, false, "KEYSPEC", (*app).cmdOpen},
		"pub":        {3, false, "PUBSUBTOPIC CONTENTTOPIC HEXPAYLOAD [meta=HEX] [ts=NS] [version=N] [ephemeral]", (*app).cmdPub},
		"metadata":   {1, true, "MULTIADDR", (*app).cmdMetadata},
		"px":         {2, true, "MULTIADDR N", (*app).cmdPX},
		"store":      {1, true, storeUsage, (*app).cmdStore},
		"store-fill": {6, false, storeFillUsage, (*app).cmdStoreFill},
		"ping":       {1, true, "MULTIADDR", (*app).cmdPing},
		"dial":       {1, true, "MULTIADDR", (*app).cmdDial},
		"disconnect": {1, false, "PEERID", (*app).cmdDisconnect},
		"peers":      {0, false, "", (*app).cmdPeers},
		"mesh":       {0, false, "", (*app).cmdMesh},
		"stats":      {0, false, "", (*app).cmdStats},
		"help":       {0, false, "", (*app).cmdHelp},
	}
}

// run answers a line with exactly one event: "reply", or "error".
func (a *app) run(line string) {
	c, err := parse(line)
	tag := func(m M) M {
		if m == nil {
			m = M{}
		}
		m["cmd"] = c.name
		if id, ok := c.opt["id"]; ok {
			m["id"] = id
		}
		return m
	}
	fail := func(err error) {
		emit("error", tag(M{"error": err.Error()}))
	}
	if c.name == "quit" {
		a.quit()
		return
	}
	d, ok := commands[c.name]
	if !ok {
		fail(errors.New("unknown command; try help"))
		return
	}
	if err == nil && len(c.args) < d.min {
		err = fmt.Errorf("usage: %s %s", c.name, d.usage)
	}
	if err != nil {
		fail(err)
		return
	}
	limit := defaultTimeout
	if s, ok := c.opt["timeout"]; ok {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v <= 0 {
			fail(fmt.Errorf("timeout=%s: seconds", s))
			return
		}
		limit = time.Duration(v * float64(time.Second))
	}
	work := func() {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		c.ctx = ctx
		m, err := within(ctx, func() (M, error) { return d.do(a, c) })
		if err != nil {
			fail(err)
			return
		}
		m = tag(m)
		m["ms"] = float64(time.Since(start).Microseconds()) / 1000
		emit("reply", m)
	}
	if d.remote {
		go work()
	} else {
		work()
	}
}

// within gives up at the deadline even where go-waku keeps waiting: it reads a response without any deadline of its own.
func within(ctx context.Context, f func() (M, error)) (M, error) {
	type result struct {
		m   M
		err error
	}
	ch := make(chan result, 1)
	go func() { m, err := f(); ch <- result{m, err} }()
	select {
	case r := <-ch:
		return r.m, r.err
	case <-ctx.Done():
		return nil, errors.New("no answer: " + ctx.Err().Error())
	}
}

// reach connects to the peer of a multiaddr, unless it is connected.
func (a *app) reach(c *call) (peer.ID, error) {
	i, err := target(c.args[0])
	if err != nil {
		return "", err
	}
	return i.ID, a.n.Host().Connect(c.ctx, *i)
}

func (c *call) message(ct, payload string) (*pb.WakuMessage, error) {
	b, err := unhex(payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	m := &pb.WakuMessage{ContentTopic: ct, Payload: b, Timestamp: proto.Int64(time.Now().UnixNano())}
	if s, ok := c.opt["ts"]; ok {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("ts: %w", err)
		}
		m.Timestamp = &v
		if v == 0 {
			m.Timestamp = nil
		}
	}
	if s, ok := c.opt["version"]; ok {
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("version: %w", err)
		}
		m.Version = proto.Uint32(uint32(v))
	}
	if s, ok := c.opt["meta"]; ok {
		if m.Meta, err = unhex(s); err != nil {
			return nil, fmt.Errorf("meta: %w", err)
		}
	}
	if c.opt["ephemeral"] != "" {
		m.Ephemeral = proto.Bool(true)
	}
	return m, nil
}

// messageM shows a message; `hash` is today's deterministic hash, computed here.
func messageM(topic string, m *pb.WakuMessage) M {
	h, sum := messageHash(topic, m), sha256.Sum256(m.Payload)
	return M{"hash": hx(h[:]), "payload_sha256": hx(sum[:]), "pubsub_topic": topic, "content_topic": m.ContentTopic, "payload": hx(m.Payload), "meta": hx(m.Meta),
		"timestamp": m.GetTimestamp(), "version": m.GetVersion(), "ephemeral": m.GetEphemeral(), "proof": hx(m.RateLimitProof)}
}

func (a *app) cmdSub(c *call) (M, error) { return M{"pubsub_topic": c.args[0]}, a.subscribe(c.args[0]) }
func (a *app) cmdUnsub(c *call) (M, error) {
	return M{"pubsub_topic": c.args[0]}, a.unsubscribe(c.args[0])
}

func (a *app) cmdPub(c *call) (M, error) {
	m, err := c.message(c.args[1], c.args[2])
	if err != nil {
		return nil, err
	}
	return a.publish(c, m)
}

// publish sends a message on the topic that the command names, and shows what it sent.
func (a *app) publish(c *call, m *pb.WakuMessage) (M, error) {
	h, err := a.n.Relay().Publish(c.ctx, m, relay.WithPubSubTopic(c.args[0]))
	if err != nil {
		return nil, err
	}
	r := messageM(c.args[0], m)
	delete(r, "payload")
	r["hash_v090"] = hx(h)
	r["relay_peers"] = len(a.n.Relay().PubSub().ListPeers(c.args[0]))
	return r, nil
}

func (a *app) cmdMetadata(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	rs, err := a.meta.Request(c.ctx, p)
	if err != nil {
		return nil, err
	}
	if rs == nil {
		return M{"cluster": nil, "shards": []uint16{}}, nil
	}
	shards := append([]uint16{}, rs.ShardIDs...) // in the order of the wire, which is random with go-waku
	return M{"cluster": rs.ClusterID, "shards": shards}, nil
}

func (a *app) cmdPing(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	r := <-ping.Ping(c.ctx, a.n.Host(), p)
	return M{"rtt_ms": math.Round(float64(r.RTT.Microseconds())) / 1000}, r.Error
}

func (a *app) cmdDial(c *call) (M, error) {
	i, err := target(c.args[0])
	if err != nil {
		return nil, err
	}
	return M{"peer": i.ID.String()}, a.n.DialPeer(c.ctx, c.args[0])
}

func (a *app) cmdDisconnect(c *call) (M, error) {
	p, err := peer.Decode(c.args[0])
	if err != nil {
		return nil, err
	}
	return nil, a.n.ClosePeerById(p)
}

func (a *app) cmdPeers(*call) (M, error) {
	r := []M{}
	for _, p := range a.n.Host().Network().Peers() {
		addrs := []string{}
		for _, c := range a.n.Host().Network().ConnsToPeer(p) {
			addrs = append(addrs, c.RemoteMultiaddr().String())
		}
		r = append(r, M{"peer": p.String(), "addrs": addrs, "protocols": a.protocols(p)})
	}
	return M{"peers": r}, nil
}

func (a *app) cmdMesh(*call) (M, error) {
	known := M{}
	for _, t := range a.n.Relay().Topics() {
		ids := []string{}
		for _, p := range a.n.Relay().PubSub().ListPeers(t) {
			ids = append(ids, p.String())
		}
		known[t] = ids
	}
	return M{"mesh": a.tr.meshOf(), "subscribers": known}, nil
}

func (a *app) cmdStats(*call) (M, error) {
	m := self()
	m["relay_messages"], m["payload_bytes"] = a.relayed.Load(), a.bytes.Load()
	m["peers"], m["gossip"] = len(a.n.Host().Network().Peers()), a.tr.counters()
	return m, nil
}

func (a *app) cmdHelp(*call) (M, error) {
	m := M{"quit": ""}
	for k, d := range commands {
		m[k] = d.usage
	}
	return M{"commands": m, "options": "id=WORD and timeout=SECONDS go with any command"}, nil
}
