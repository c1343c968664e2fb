// geth-disc-peer runs go-ethereum's node discovery: version 4, and lists in DNS. Commands come one a line on standard input, events go one JSON
// object a line to standard output. It stays on loopback.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/discover"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
	"github.com/ethereum/go-ethereum/p2p/netutil"
)

var (
	optListen    = flag.String("listen", "127.0.0.1:0", "UDP address, on loopback")
	optKey       = flag.String("key", "", "node private key, 64 hex digits; random if empty")
	optTCP       = flag.Uint("tcp", 30303, "TCP port to tell others")
	optBootnodes = flag.String("bootnodes", "", "enodes to begin at, separated by commas")
	optWalk      = flag.Bool("walk", false, "look for random nodes all the time, an event for each one found")
)

// fields is the body of one JSON line.
type fields map[string]interface{}

var outMu sync.Mutex

func emit(event string, f fields) {
	f["event"] = event
	f["t"] = time.Now().UnixMilli()
	line, err := json.Marshal(f)
	if err != nil {
		line = []byte(fmt.Sprintf(`{"event":"error","error":%q}`, err.Error()))
	}
	outMu.Lock()
	defer outMu.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func fatal(err error) {
	if err != nil {
		emit("error", fields{"fatal": true, "error": err.Error()})
		os.Exit(1)
	}
}

func describe(n *enode.Node) fields {
	return fields{"id": n.ID().String(), "enode": n.URLv4(), "enr": n.String(), "seq": n.Seq()}
}

func main() {
	flag.Parse()
	disc, err := listen()
	fatal(err)
	defer disc.Close()
	emit("ready", describe(disc.Self()))
	if *optWalk {
		go walk(disc)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "quit" {
			return
		}
		if err := run(disc, words); err != nil {
			emit("error", fields{"cmd": words[0], "error": err.Error()})
		}
	}
}

func listen() (*discover.UDPv4, error) {
	key, err := nodeKey()
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp4", *optListen)
	if err != nil {
		return nil, err
	}
	if !addr.IP.IsLoopback() {
		return nil, errors.New("this program stays on loopback")
	}
	conn, err := net.ListenUDP("udp4", addr)
	if err != nil {
		return nil, err
	}
	var bootnodes []*enode.Node
	for _, url := range strings.FieldsFunc(*optBootnodes, func(r rune) bool { return r == ',' }) {
		node, err := enode.ParseV4(url)
		if err != nil {
			return nil, err
		}
		bootnodes = append(bootnodes, node)
	}
	db, err := enode.OpenDB("")
	if err != nil {
		return nil, err
	}
	bound := conn.LocalAddr().(*net.UDPAddr)
	local := enode.NewLocalNode(db, key)
	local.SetStaticIP(bound.IP)
	local.SetFallbackUDP(bound.Port)
	local.Set(enr.TCP(*optTCP))
	loopback, err := netutil.ParseNetlist("127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	return discover.ListenV4(conn, local, discover.Config{PrivateKey: key, Bootnodes: bootnodes, NetRestrict: loopback})
}

func nodeKey() (*ecdsa.PrivateKey, error) {
	if *optKey == "" {
		return crypto.GenerateKey()
	}
	return crypto.HexToECDSA(*optKey)
}

// walk tells of each node once, found by random lookups.
func walk(disc *discover.UDPv4) {
	seen := map[enode.ID]bool{}
	nodes := disc.RandomNodes()
	for nodes.Next() {
		if n := nodes.Node(); !seen[n.ID()] {
			seen[n.ID()] = true
			emit("found", describe(n))
		}
	}
}

// run obeys one command: "nodes", or "ping", "enr", "resolve" or "lookup" with an enode, or one of DNS.
func run(disc *discover.UDPv4, words []string) error {
	if done, err := runDNS(words); done {
		return err
	}
	if words[0] == "nodes" {
		nodes := []string{}
		for _, bucket := range disc.TableBuckets() {
			for _, n := range bucket {
				nodes = append(nodes, n.Node.URLv4())
			}
		}
		emit("nodes", fields{"nodes": nodes})
		return nil
	}
	if len(words) != 2 {
		return errors.New("unknown command, or no enode")
	}
	node, err := enode.ParseV4(words[1])
	if err != nil {
		return err
	}
	switch words[0] {
	case "ping":
		if err := disc.Ping(node); err != nil {
			return err
		}
		emit("pong", describe(node))
	case "enr":
		record, err := disc.RequestENR(node)
		if err != nil {
			return err
		}
		emit("enr", describe(record))
	case "resolve":
		emit("resolved", describe(disc.Resolve(node)))
	case "lookup":
		nodes := []string{}
		for _, n := range disc.LookupPubkey(node.Pubkey()) {
			nodes = append(nodes, n.URLv4())
		}
		emit("looked-up", fields{"target": node.ID().String(), "nodes": nodes})
	default:
		return errors.New("unknown command")
	}
	return nil
}
