// whisper-peer runs go-ethereum's own Whisper (shh/6) over its p2p server. Commands come one a line on standard input, events
// go one JSON object a line to standard output; both are those of status-go-peer, as far as Whisper has a word for them.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	shh "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

var (
	optListen  = flag.String("listen", "127.0.0.1:0", "TCP address, on loopback")
	optKey     = flag.String("key", "", "node private key, 64 hex digits; random if empty")
	optName    = flag.String("name", "whisper-peer", "client name in the devp2p Hello")
	optLight   = flag.Bool("light", false, "light client mode")
	optBloom   = flag.String("bloom", "", "bloom filter, 128 hex digits; empty accepts everything")
	optMinPow  = flag.Float64("minpow", shh.DefaultMinimumPoW, "lowest proof of work accepted")
	optVerbose = flag.Bool("v", false, "logs of go-ethereum on standard error")
	optDial    listFlag
)

// fields is the body of one JSON line.
type fields map[string]interface{}

var outMu sync.Mutex

func emit(event string, f fields) {
	if f == nil {
		f = fields{}
	}
	f["event"] = event
	f["t"] = time.Now().UnixMilli()
	line, err := json.Marshal(f)
	if err != nil {
		line = []byte(fmt.Sprintf(`{"event":"error","error":%q}`, err))
	}
	outMu.Lock()
	defer outMu.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func fatal(err error) {
	if err != nil {
		emit("fatal", fields{"error": err.Error()})
		os.Exit(1)
	}
}

func toHex(b []byte) string { return hex.EncodeToString(b) }

func fromHex(s string) ([]byte, error) { return hex.DecodeString(strings.TrimPrefix(s, "0x")) }

type node struct {
	w      *shh.Whisper
	server *p2p.Server
	key    *ecdsa.PrivateKey

	mu      sync.Mutex
	links   map[enode.ID]*link
	filters []*shh.Filter
}

func main() {
	flag.Var(&optDial, "dial", "enode to connect to; may be repeated")
	flag.Parse()
	handler := log.DiscardHandler()
	if *optVerbose {
		handler = log.StreamHandler(os.Stderr, log.LogfmtFormat())
	}
	log.Root().SetHandler(handler)

	n := &node{links: map[enode.ID]*link{}}
	fatal(n.startWhisper())
	fatal(n.startServer())
	go n.poll()
	for _, url := range optDial {
		fatal(n.addPeer(url))
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<16), 64<<20)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		if err := n.execute(words[0], words[1:]); err != nil {
			emit("error", fields{"cmd": words[0], "error": err.Error()})
		}
	}
	n.server.Stop()
}

func (n *node) startWhisper() error {
	n.w = shh.StandaloneWhisperService(&shh.Config{
		MaxMessageSize: shh.DefaultMaxMessageSize, MinimumAcceptedPOW: *optMinPow, RestrictConnectionBetweenLightClients: true,
	})
	// A fresh node tolerates 0.2 whatever its configured minimum is; this setter makes the minimum hold from the start.
	n.w.SetMinimumPowTest(*optMinPow)
	n.w.SetLightClientMode(*optLight)
	if *optBloom != "" {
		if err := n.setBloom(*optBloom); err != nil {
			return err
		}
	}
	return n.w.Start()
}

func (n *node) startServer() (err error) {
	if n.key, err = crypto.GenerateKey(); *optKey != "" {
		n.key, err = crypto.HexToECDSA(*optKey)
	}
	if err != nil {
		return err
	}
	loopback, err := netutil.ParseNetlist("127.0.0.0/8,::1/128")
	if err != nil {
		return err
	}
	n.server = &p2p.Server{Config: p2p.Config{
		PrivateKey: n.key, Name: *optName, ListenAddr: *optListen, NetRestrict: loopback,
		MaxPeers: 100, MaxPendingPeers: 50, NoDiscovery: true, Logger: log.Root(),
	}}
	for _, proto := range n.w.Protocols() {
		n.server.Protocols = append(n.server.Protocols, n.tapped(proto))
	}
	drops := make(chan *p2p.PeerEvent, 1024)
	n.server.SubscribeEvents(drops)
	go n.peerEvents(drops)
	if err := n.server.Start(); err != nil {
		return err
	}
	emit("ready", fields{"enode": n.server.Self().URLv4(), "id": n.server.Self().ID().String(), "pid": os.Getpid()})
	return nil
}

func (n *node) addPeer(url string) error {
	e, err := enode.ParseV4(url)
	if err != nil {
		return err
	}
	n.server.AddPeer(e)
	return nil
}

func (n *node) setBloom(s string) error {
	b, err := fromHex(s)
	if err != nil {
		return err
	}
	if len(b) != shh.BloomFilterSize {
		return errors.New("a bloom filter has 128 hex digits")
	}
	return n.w.SetBloomFilter(b)
}
