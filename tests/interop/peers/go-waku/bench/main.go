// Measures the relay of any Waku node that listens on loopback.
//
//	bench relay -target NAME=MULTIADDR[,PID] [-target ...]   messages through the node: feeder -> node -> drain, and further drains
//
// One JSON line for each run and a summary at the end, all on standard output. Targets take turns, so that they share the weather.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/zap"

	"github.com/waku-org/go-waku/waku/v2/hash"
	wakuproto "github.com/waku-org/go-waku/waku/v2/protocol"
	wenr "github.com/waku-org/go-waku/waku/v2/protocol/enr"
	"github.com/waku-org/go-waku/waku/v2/protocol/metadata"
	"github.com/waku-org/go-waku/waku/v2/protocol/relay"
	"github.com/waku-org/go-waku/waku/v2/utils"
)

const (
	meshWait = 20 * time.Second
	lateness = time.Second     // a message under way for longer no longer holds its place in the window
	stall    = 3 * time.Second // without a new message at the end: what is outstanding counts as lost

	disturbed = 0.10 // a run is marked when other processes took more than this share of the machine
)

// target is a node under test.
type target struct {
	name string
	info peer.AddrInfo
	pid  int // 0: no CPU and memory figures
}

type targets []target

func (t *targets) String() string { return "" }
func (t *targets) Set(s string) error {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("want NAME=MULTIADDR[,PID]")
	}
	addr, pid, hasPid := strings.Cut(rest, ",")
	x := target{name: name}
	if hasPid {
		v, err := strconv.Atoi(pid)
		if err != nil {
			return err
		}
		x.pid = v
	}
	m, err := ma.NewMultiaddr(addr)
	if err != nil {
		return err
	}
	if !manet.IsIPLoopback(m) {
		return errors.New("not a loopback address")
	}
	i, err := peer.AddrInfoFromP2pAddr(m)
	if err != nil {
		return err
	}
	x.info = *i
	*t = append(*t, x)
	return nil
}

var (
	fs       = flag.NewFlagSet("bench", flag.ExitOnError)
	fTargets targets
	fCluster = fs.Uint("cluster", 16, "cluster id")
	fShard   = fs.Uint("shard", 0, "shard")
	fSize    = fs.Int("size", 1024, "payload bytes")
	fN       = fs.Int("n", 10000, "messages sent in each run")
	fRuns    = fs.Int("runs", 15, "runs of each target")
	fWindow  = fs.Int("window", 32, "messages under way at once; gossipsub in Go drops messages above 33")
	fPause   = fs.Duration("pause", 0, "wait `TIME` before each message: with -window 1, single messages through an idle node")
	fDrains  = fs.Int("receivers", 1, "`PEERS` that receive: a message has arrived when one of them has it")
	fLarge   = fs.Duration("large-every", 0, "beside it, a second feeder publishes a large message every `TIME` (0: none)")
	fLargest = fs.Int("large-size", 153_500, "payload `BYTES` of the large ones: with its frame just within 150 KiB")
	fDirect  = fs.Bool("direct", false, "also measure feeder -> drain without a node between, the driver's own ceiling")
)

func main() {
	fs.Var(&fTargets, "target", "`NAME=MULTIADDR[,PID]` (repeatable)")
	if len(os.Args) < 2 || os.Args[1] != "relay" {
		fmt.Fprintln(os.Stderr, "usage: bench relay -target NAME=MULTIADDR[,PID] ...")
		fs.PrintDefaults()
		os.Exit(2)
	}
	_ = fs.Parse(os.Args[2:])
	if len(fTargets) == 0 && !*fDirect {
		fail(errors.New("no -target"))
	}
	if *fSize < 8 {
		fail(errors.New("-size: at least 8"))
	}
	utils.InitLogger("nocolor", "file:/dev/null")
	show(M{"bench": os.Args[1], "args": strings.Join(os.Args[2:], " "), "cores": runtime.NumCPU(), "load": loadavg()})
	benchRelay()
}

// M is one JSON object.
type M map[string]interface{}

func show(m M) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(m)
	os.Stdout.Write(b.Bytes())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func topicName() string {
	return wakuproto.NewStaticShardingPubsubTopic(uint16(*fCluster), uint16(*fShard)).String()
}

// node is a bare libp2p host that a Waku node accepts: metadata, and relay if asked for. It does as little as it can, because it
// shares the machine with the node under test.
type node struct {
	h      host.Host
	cancel context.CancelFunc
	topic  *pubsub.Topic
	grafts *grafts
}

func newNode(ip string) *node {
	ctx, cancel := context.WithCancel(context.Background())
	key, err := crypto.GenerateKey()
	must(err)
	h, err := libp2p.New(libp2p.Identity(utils.EcdsaPrivKeyToSecp256k1PrivKey(key)), libp2p.ListenAddrStrings("/ip4/"+ip+"/tcp/0"),
		libp2p.Security(noise.ID, noise.New), libp2p.DisableRelay(), libp2p.UserAgent("bench"))
	must(err)
	rs, err := wakuproto.NewRelayShards(uint16(*fCluster), uint16(*fShard))
	must(err)
	ln, err := wenr.NewLocalnode(key)
	must(err)
	must(wenr.Update(ln, wenr.WithWakuRelaySharding(rs)))
	md := metadata.NewWakuMetadata(uint16(*fCluster), ln, zap.NewNop())
	md.SetHost(h)
	must(md.Start(ctx))
	n := &node{h: h, cancel: cancel, grafts: newGrafts()}
	ps, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { return string(hash.SHA256(m.Data)) }),
		pubsub.WithGossipSubProtocols([]protocol.ID{relay.WakuRelayID_v200, pubsub.GossipSubID_v11}, func(f pubsub.GossipSubFeature, p protocol.ID) bool {
			return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeaturePX
		}),
		// A node with many peers may prune us: we publish to it all the same.
		pubsub.WithFloodPublish(true), pubsub.WithPeerOutboundQueueSize(4096), pubsub.WithValidateQueueSize(4096), pubsub.WithRawTracer(n.grafts))
	must(err)
	n.topic, err = ps.Join(topicName())
	must(err)
	return n
}

func (n *node) connect(p peer.AddrInfo) {
	ctx, c := context.WithTimeout(context.Background(), 10*time.Second)
	defer c()
	must(n.h.Connect(ctx, p))
}

func (n *node) close() {
	n.cancel()
	n.h.Close()
}

// Process figures, from /proc.

// procCPU reads the seconds that a process has run, user and system, all its threads together: its own clock, in nanoseconds, which clock_gettime
// takes by a number made of the process's (clock_getcpuclockid(3)). /proc/PID/stat has steps of 10 ms.
func procCPU(pid int) float64 {
	const schedulerClock = 2
	var t syscall.Timespec
	clock := ^pid<<3 | schedulerClock
	if _, _, failed := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&t)), 0); failed != 0 {
		return 0
	}
	return float64(t.Nano()) / 1e9
}

func procPeakMB(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) >= 2 && f[0] == "VmHWM:" {
			v, _ := strconv.ParseFloat(f[1], 64)
			return v / 1024
		}
	}
	return 0
}

// resetPeak makes VmHWM count from now on.
func resetPeak(pid int) { _ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) }

// meter adds up the CPU time of this process, of the node under test and of the rest of the machine.
type meter struct {
	start           time.Time
	pid             int
	self, node, all float64
}

func busyTicks() float64 {
	b, _ := os.ReadFile("/proc/stat")
	var t float64
	for i, x := range strings.Fields(strings.SplitN(string(b), "\n", 2)[0])[1:] {
		if v, _ := strconv.ParseFloat(x, 64); i < 8 && i != 3 && i != 4 {
			t += v
		}
	}
	return t / 100
}

func startMeter(pid int) meter {
	return meter{time.Now(), pid, procCPU(os.Getpid()), procCPU(pid), busyTicks()}
}

// read tells the CPU seconds of the node and of this driver, and the share of the machine that others took.
func (m meter) read() (node, driver, others float64) {
	el := time.Since(m.start).Seconds()
	node, driver = procCPU(m.pid)-m.node, procCPU(os.Getpid())-m.self
	others = (busyTicks() - m.all - node - driver) / (el * float64(runtime.NumCPU()))
	if others < 0 {
		others = 0
	}
	return
}

func loadavg() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

func pct(x []float64, p float64) float64 {
	if len(x) == 0 {
		return 0
	}
	y := append([]float64{}, x...)
	sort.Float64s(y)
	return y[int(float64(len(y)-1)*p+0.5)]
}

func median(x []float64) float64 { return pct(x, 0.5) }

func round(x float64, digits int) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	return v
}
