// A go-waku 0.9.0 node driven by lines on standard input; it answers with JSON lines on standard output. See README.md.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	golog "github.com/ipfs/go-log/v2"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/waku-org/go-waku/waku/v2/node"
	"github.com/waku-org/go-waku/waku/v2/payload"
	"github.com/waku-org/go-waku/waku/v2/protocol"
	wenr "github.com/waku-org/go-waku/waku/v2/protocol/enr"
	"github.com/waku-org/go-waku/waku/v2/protocol/metadata"
	"github.com/waku-org/go-waku/waku/v2/protocol/relay"
	"github.com/waku-org/go-waku/waku/v2/utils"
)

var (
	fListen    = flag.String("listen", "127.0.0.1:0", "TCP `ADDR:PORT` to listen on; a loopback address, port 0 takes a free one")
	fWS        = flag.Int("ws", -1, "also listen for plain websockets on this `PORT` of the same address (0 takes a free one, -1 is off)")
	fKey       = flag.String("key", "", "secp256k1 node key in `HEX` (default: a fresh one)")
	fCluster   = flag.Uint("cluster", 1, "cluster id; 0 switches the metadata check of other peers off")
	fShards    = flag.String("shards", "0", "comma list of `SHARDS` to relay; empty for none")
	fMaxMsg    = flag.Int("max-msg-size", 0, "largest gossipsub RPC in `BYTES` (0: the library's 1 MiB)")
	fMinPeers  = flag.Int("min-relay-peers", 0, "refuse to publish with fewer relay `PEERS` on the topic")
	fMaxConns  = flag.Int("max-conns", 200, "connection manager's target `NUMBER` of connections")
	fKeepAlive = flag.Duration("keep-alive", 0, "ping every peer at this `INTERVAL` (0 is off)")
	fQuiet     = flag.Bool("quiet", false, "count messages, do not print them")
	fTrace     = flag.Bool("trace", false, "print gossipsub events: graft, prune, reject, duplicate, drop-rpc, gossip-peer")
	fLog       = flag.String("log", "", "go-waku's own log on standard error at this `LEVEL` (debug, info, warn, error)")
	fDiscv5    = flag.Int("discv5", -1, "run discv5 on this UDP `PORT` (0 takes a free one, -1 is off)")
	fPX        = flag.Bool("peer-exchange", false, "serve peer exchange: hands out what discv5 found")
	fBoot      list
	fDial      list
)

type app struct {
	n              *node.WakuNode
	tr             *tracer
	key            *ecdsa.PrivateKey
	topics         []string               // of -shards
	meta           *metadata.WakuMetadata // client side only
	log            *zap.Logger
	mu             sync.Mutex
	subs           map[string]bool    // relay topics in use
	keys           []*payload.KeyInfo // given by `open`
	stop           sync.Once
	relayed, bytes atomic.Int64
}

func main() {
	flag.Var(&fBoot, "bootstrap", "discv5 bootstrap `ENR`, of loopback (repeatable)")
	flag.Var(&fDial, "dial", "`MULTIADDR` to connect to once running (repeatable)")
	flag.Parse()
	if err := claimStdout(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if flag.NArg() > 0 {
		fatal(fmt.Errorf("unexpected argument %q", flag.Arg(0)))
	}
	a := &app{subs: map[string]bool{}, tr: newTracer(*fTrace, !*fQuiet)}
	opts := a.options()
	n, err := node.New(opts...)
	must(err)
	a.n = n
	ctx := context.Background()
	must(n.Start(ctx))
	a.watchPeers()
	a.metadataClient()
	for _, t := range a.topics {
		must(a.subscribe(t))
	}
	a.discover(ctx)
	a.awaitShards(3 * time.Second)
	a.ready()

	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-sig; a.quit() }()
	for _, d := range fDial {
		a.run("dial " + d)
	}
	sc := bufio.NewScanner(os.Stdin)
	sc.Buffer(make([]byte, 1<<20), 16<<20)
	for sc.Scan() {
		if l := strings.TrimSpace(sc.Text()); l != "" && !strings.HasPrefix(l, "#") {
			a.run(l)
		}
	}
	a.quit() // standard input closed: whoever drove us is gone
}

// options turns the flags into go-waku's options, and refuses what would leave the loopback interface.
func (a *app) options() []node.WakuNodeOption {
	host, err := net.ResolveTCPAddr("tcp", *fListen)
	must(err)
	if !host.IP.IsLoopback() {
		fatal(fmt.Errorf("-listen %s: not a loopback address", *fListen))
	}
	if *fKey == "" {
		a.key, err = crypto.GenerateKey()
	} else {
		a.key, err = crypto.HexToECDSA(strings.TrimPrefix(*fKey, "0x"))
	}
	must(err)
	if *fCluster > 65535 {
		fatal(errors.New("-cluster: larger than 65535"))
	}
	for _, s := range strings.Split(*fShards, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		v, err := strconv.ParseUint(s, 10, 16)
		must(err)
		a.topics = append(a.topics, protocol.NewStaticShardingPubsubTopic(uint16(*fCluster), uint16(v)).String())
	}
	log := a.logging()
	a.log = log
	o := []node.WakuNodeOption{
		node.WithLogger(log), node.WithPrivateKey(a.key), node.WithHostAddress(host), node.WithClusterID(uint16(*fCluster)),
		node.WithMaxPeerConnections(*fMaxConns), node.WithPrometheusRegisterer(prometheus.NewRegistry()), node.WithKeepAlive(*fKeepAlive),
	}
	if *fWS >= 0 {
		o = append(o, node.WithWebsockets(host.IP.String(), *fWS))
	}
	ps := []pubsub.Option{pubsub.WithRawTracer(a.tr)}
	if *fMaxMsg > 0 {
		ps = append(ps, pubsub.WithMaxMessageSize(*fMaxMsg))
	}
	o = append(o, discoveryOptions(host.IP)...)
	o = append(o, lightpushOptions()...)
	o = append(o, filterOptions()...)
	o = append(o, storeOptions(log)...)
	return append(o, node.WithWakuRelayAndMinPeers(*fMinPeers, ps...))
}

// logging sends go-waku's log to standard error or nowhere: by default it would print on standard output.
func (a *app) logging() *zap.Logger {
	if *fLog == "" {
		utils.InitLogger("nocolor", "file:/dev/null")
		return zap.New(silent{})
	}
	lvl, err := zapcore.ParseLevel(*fLog)
	must(err)
	utils.InitLogger("nocolor", "file:/dev/stderr")
	golog.SetAllLoggers(golog.LogLevel(lvl))
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(os.Stderr), lvl))
}

// silent writes nothing. It claims every level because go-waku makes it the core of all of libp2p's loggers, and these complain on
// standard error about a core that has less than they want.
type silent struct{}

func (silent) Enabled(zapcore.Level) bool                                           { return true }
func (s silent) With([]zapcore.Field) zapcore.Core                                  { return s }
func (silent) Check(_ zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry { return c }
func (silent) Write(zapcore.Entry, []zapcore.Field) error                           { return nil }
func (silent) Sync() error                                                          { return nil }

// metadataClient prepares our requests to other peers: go-waku's own instance is private to the node.
func (a *app) metadataClient() {
	ln, err := wenr.NewLocalnode(a.key)
	must(err)
	if rs, err := protocol.TopicsToRelayShards(a.topics...); err == nil && len(rs) == 1 {
		must(wenr.Update(ln, wenr.WithWakuRelaySharding(rs[0])))
	}
	a.meta = metadata.NewWakuMetadata(uint16(*fCluster), ln, zap.NewNop())
	a.meta.SetHost(a.n.Host())
}

// awaitShards waits until the ENR names the shards: go-waku sets them some time after the subscription.
func (a *app) awaitShards(limit time.Duration) {
	if len(a.topics) == 0 {
		return
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		rs, err := wenr.RelaySharding(a.n.ENR().Record())
		if err == nil && rs != nil && len(rs.ShardIDs) == len(a.topics) {
			return
		}
	}
}

func (a *app) ready() {
	m := M{"peer_id": a.n.ID(), "pid": os.Getpid(), "pubsub_topics": a.topics, "enr": a.n.ENR().String(), "key": hx(crypto.FromECDSA(a.key)), "cluster": *fCluster}
	addrs := []string{}
	for _, x := range a.n.ListenAddresses() {
		s := x.String()
		addrs = append(addrs, s)
		switch _, err := x.ValueForProtocol(ma.P_WS); {
		case err == nil:
			m["ws"] = s
		case m["tcp"] == nil:
			m["tcp"] = s
		}
	}
	m["addrs"] = addrs
	ps := []string{}
	for _, p := range a.n.Host().Mux().Protocols() {
		ps = append(ps, string(p))
	}
	sort.Strings(ps)
	m["protocols"] = ps
	v := M{}
	if bi, ok := debug.ReadBuildInfo(); ok {
		v["go"] = bi.GoVersion
		for _, d := range bi.Deps {
			switch d.Path {
			case "github.com/waku-org/go-waku", "github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-pubsub":
				v[d.Path[strings.LastIndex(d.Path, "/")+1:]] = d.Version
			}
		}
	}
	m["versions"] = v
	emit("ready", m)
}

// watchPeers reports who comes, what they speak, and who goes.
func (a *app) watchPeers() {
	sub, err := a.n.Host().EventBus().Subscribe([]interface{}{new(event.EvtPeerConnectednessChanged), new(event.EvtPeerIdentificationCompleted)})
	must(err)
	go func() {
		for e := range sub.Out() {
			switch e := e.(type) {
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness != network.Connected {
					emit("disconnected", M{"peer": e.Peer.String()})
					continue
				}
				m := M{"peer": e.Peer.String()}
				for _, c := range a.n.Host().Network().ConnsToPeer(e.Peer) {
					m["addr"] = c.RemoteMultiaddr().String()
					m["direction"] = strings.ToLower(c.Stat().Direction.String())
					st := c.ConnState()
					m["security"], m["muxer"] = string(st.Security), string(st.StreamMultiplexer)
				}
				emit("connected", m)
			case event.EvtPeerIdentificationCompleted:
				m := M{"peer": e.Peer.String(), "protocols": a.protocols(e.Peer)}
				if v, err := a.n.Host().Peerstore().Get(e.Peer, "AgentVersion"); err == nil {
					m["software"] = v
				}
				emit("identified", m)
			}
		}
	}()
}

func (a *app) protocols(p peer.ID) []string {
	ids, _ := a.n.Host().Peerstore().GetProtocols(p)
	return idStrings(ids)
}

func idStrings(ids []libp2pproto.ID) []string {
	r := []string{}
	for _, i := range ids {
		r = append(r, string(i))
	}
	sort.Strings(r)
	return r
}

// subscribe joins a relay topic and prints what arrives on it.
func (a *app) subscribe(topic string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.subs[topic] {
		return nil
	}
	subs, err := a.n.Relay().Subscribe(context.Background(), protocol.NewContentFilter(topic), relay.WithCacheSize(4096))
	if err != nil {
		return err
	}
	a.subs[topic] = true
	for _, s := range subs {
		go func(ch <-chan *protocol.Envelope) {
			for e := range ch {
				a.relayed.Add(1)
				a.bytes.Add(int64(len(e.Message().Payload)))
				a.report(e)
			}
		}(s.Ch)
	}
	return nil
}

func (a *app) unsubscribe(topic string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.subs[topic] {
		return errors.New("not subscribed")
	}
	delete(a.subs, topic)
	return a.n.Relay().Unsubscribe(context.Background(), protocol.NewContentFilter(topic))
}

// report prints a message, and what our own keys open of it. What this node published itself has no origin: gossipsub's tracer reports
// only what other peers delivered.
func (a *app) report(e *protocol.Envelope) {
	if *fQuiet {
		return
	}
	m := messageM(e.PubsubTopic(), e.Message())
	m["hash_v090"] = hx(e.Hash())
	if o, ok := a.tr.origin(e.PubsubTopic(), e.Message()); ok {
		m["from"], m["gossip_id"], m["size"] = o.from.String(), hx(o.id[:]), o.size
	}
	a.openWithKeys(e.Message(), m)
	emit("message", m)
}

func (a *app) quit() {
	a.stop.Do(func() {
		emit("quit", self())
		done := make(chan struct{})
		go func() { a.n.Stop(); close(done) }()
		select {
		case <-done:
		case <-time.After(2 * time.Second):
		}
		os.Exit(0)
	})
}

// target parses a multiaddr with a peer id and refuses to leave the loopback interface.
func target(s string) (*peer.AddrInfo, error) {
	x, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, err
	}
	if !manet.IsIPLoopback(x) {
		return nil, fmt.Errorf("%s: not a loopback address", s)
	}
	return peer.AddrInfoFromP2pAddr(x)
}
