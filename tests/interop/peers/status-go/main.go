// status-go-peer runs status-go's own waku/0 and waku/1 code over go-ethereum's p2p server. Commands come one a line on
// standard input, events go one JSON object a line to standard output. "status-go-peer bench ..." measures relays instead, and
// "status-go-peer whisper ..." is its mail server of Whisper.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/status-im/status-go/mailserver"
	"github.com/status-im/status-go/waku"
	"github.com/status-im/status-go/waku/common"
	"go.uber.org/zap"
)

// Packet codes of waku/0 and waku/1; status-go keeps its own constants private.
const (
	codeStatus       = 0
	codeMessages     = 1
	codeStatusUpdate = 22
)

type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

var (
	optListen    = flag.String("listen", "127.0.0.1:0", "TCP address to listen on")
	optKey       = flag.String("key", "", "node private key, 64 hex digits; random if empty")
	optVersions  = flag.String("versions", "0", "waku versions to offer: 0, 1 or 0,1")
	optName      = flag.String("name", "status-go-peer", "client name in the devp2p Hello")
	optNet       = flag.String("net", "127.0.0.0/8,::1/128", "only addresses in these networks may connect or be dialled")
	optLight     = flag.Bool("light", false, "light client mode")
	optLightPair = flag.Bool("light-pair", false, "let two light clients connect")
	optBloom     = flag.String("bloom", "", "bloom filter, 128 hex digits; empty accepts everything")
	optTopics    = flag.String("topics", "", "topic-interest mode with these topics (hex, comma); 'none' is an empty list")
	optMinPow    = flag.Float64("minpow", 0.001, "lowest proof of work accepted")
	optMaxSize   = flag.Uint("maxsize", uint(common.DefaultMaxMessageSize), "largest packet accepted, bytes")
	optConfirm   = flag.Bool("confirm", false, "confirm received batches")
	optRate      = flag.Int64("ratelimit", 0, "packets a second of one peer and of one IP; 0 is no limit")
	optRateBytes = flag.Int64("ratelimit-bytes", 0, "bytes a second of one peer and of one IP; 0 is no limit")
	optRateDrop  = flag.Int64("ratelimit-drop", 0, "drop a peer after this many excesses; 0 is never")
	optQuiet     = flag.Bool("quiet", false, "no events of envelopes and packets: for measuring")
	optTrace     = flag.Bool("trace", false, "an event for each waku packet, with its body")
	optMaxPeers  = flag.Int("maxpeers", 200, "most peers at once")
	optStay      = flag.Bool("stay", false, "keep running after standard input ends")
	optVerbose   = flag.Bool("v", false, "logs of status-go and go-ethereum on standard error")
	optDial      listFlag
)

type node struct {
	w      *waku.Waku
	server *p2p.Server
	key    *ecdsa.PrivateKey
	mail   *mailserver.WakuMailServer

	mu    sync.Mutex
	links map[enode.ID]*link
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		os.Exit(benchMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "whisper" {
		whisperMain(os.Args[2:])
		return
	}
	flag.Var(&optDial, "dial", "enode to connect to; may be repeated")
	flag.Parse()
	logger := setLogs()

	n := &node{links: map[enode.ID]*link{}}
	var err error
	n.key, err = nodeKey(*optKey)
	fatal(err)
	fatal(n.startWaku(logger))
	fatal(n.startServer())
	for _, url := range optDial {
		fatal(n.addPeer(url))
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-stop; n.quit() }()

	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<16), 64<<20)
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); line != "" {
			n.command(strings.Fields(line))
		}
	}
	if *optStay {
		select {}
	}
	n.quit()
}

func setLogs() *zap.Logger {
	if !*optVerbose {
		log.Root().SetHandler(log.DiscardHandler())
		return zap.NewNop()
	}
	log.Root().SetHandler(log.StreamHandler(os.Stderr, log.TerminalFormat(false)))
	logger, err := zap.NewDevelopment()
	fatal(err)
	return logger
}

func nodeKey(s string) (*ecdsa.PrivateKey, error) {
	if s == "" {
		return crypto.GenerateKey()
	}
	return crypto.HexToECDSA(strings.TrimPrefix(s, "0x"))
}

// startWaku builds the protocol object. Without -topics it works in bloom mode, and without -bloom on a full bloom.
func (n *node) startWaku(logger *zap.Logger) error {
	if *optBloom != "" && *optTopics != "" {
		return errors.New("-bloom and -topics exclude each other")
	}
	n.w = waku.New(&waku.Config{
		MaxMessageSize:           uint32(*optMaxSize),
		MinimumAcceptedPoW:       *optMinPow,
		BloomFilterMode:          *optTopics == "",
		LightClient:              *optLight,
		FullNode:                 *optBloom == "" && *optTopics == "",
		RestrictLightClientsConn: !*optLightPair,
		EnableConfirmations:      *optConfirm,
	}, logger)
	if *optBloom != "" {
		if err := n.setBloom(*optBloom); err != nil {
			return err
		}
	}
	if *optTopics != "" {
		if err := n.setTopics(*optTopics); err != nil {
			return err
		}
	}
	if *optRate > 0 || *optRateBytes > 0 {
		n.w.RegisterRateLimiter(common.NewPeerRateLimiter(&common.PeerRateLimiterConfig{
			PacketLimitPerSecIP: *optRate, PacketLimitPerSecPeerID: *optRate,
			BytesLimitPerSecIP: *optRateBytes, BytesLimitPerSecPeerID: *optRateBytes,
		}, &common.DropPeerRateLimiterHandler{Tolerance: *optRateDrop}))
	}
	if err := n.startMail(); err != nil {
		return err
	}
	if !*optQuiet {
		events := make(chan common.EnvelopeEvent, 1<<16)
		n.w.SubscribeEnvelopeEvents(events)
		go n.envelopeEvents(events)
	}
	return n.w.Start(nil)
}

func (n *node) startServer() error {
	networks, err := netutil.ParseNetlist(*optNet)
	if err != nil {
		return err
	}
	n.server = &p2p.Server{Config: p2p.Config{
		PrivateKey: n.key, Name: *optName, ListenAddr: *optListen, NetRestrict: networks,
		MaxPeers: *optMaxPeers, MaxPendingPeers: 100, NoDiscovery: true, Logger: log.Root(),
	}}
	offered := strings.Split(*optVersions, ",")
	for _, proto := range n.w.Protocols() {
		for _, v := range offered {
			if strings.TrimSpace(v) == strconv.Itoa(int(proto.Version)) {
				n.server.Protocols = append(n.server.Protocols, n.tapped(proto))
			}
		}
	}
	if len(n.server.Protocols) != len(offered) {
		return fmt.Errorf("-versions %q: status-go has 0 and 1", *optVersions)
	}
	drops := make(chan *p2p.PeerEvent, 1024)
	n.server.SubscribeEvents(drops)
	go n.peerEvents(drops)
	if err := n.server.Start(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(n.server.ListenAddr)
	if err != nil {
		return err
	}
	tcp, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	self := enode.NewV4(&n.key.PublicKey, net.ParseIP(host), tcp, 0)
	emit("ready", fields{"enode": self.URLv4(), "id": self.ID().String(), "pid": os.Getpid(), "versions": *optVersions,
		"pubkey": toHex(crypto.FromECDSAPub(&n.key.PublicKey))})
	return nil
}

func (n *node) quit() {
	n.server.Stop()
	n.stopMail()
	emit("bye", nil)
	os.Exit(0)
}
