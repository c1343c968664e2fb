package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio/pbio"

	"github.com/waku-org/go-waku/waku/v2/node"
	wenr "github.com/waku-org/go-waku/waku/v2/protocol/enr"
	"github.com/waku-org/go-waku/waku/v2/protocol/peer_exchange"
	pxpb "github.com/waku-org/go-waku/waku/v2/protocol/peer_exchange/pb"
)

const maxPXResponse = 4 << 20 // bytes

// discoveryOptions are go-waku's options for -discv5, -bootstrap and -peer-exchange.
func discoveryOptions(ip net.IP) []node.WakuNodeOption {
	var o []node.WakuNodeOption
	if *fPX {
		if *fDiscv5 < 0 {
			fatal(errors.New("-peer-exchange hands out what discv5 found: it needs -discv5"))
		}
		o = append(o, node.WithPeerExchange())
	}
	if *fDiscv5 < 0 {
		return o
	}
	port := *fDiscv5
	if port == 0 {
		port = freeUDP(ip)
	}
	var boot []*enode.Node
	for _, s := range fBoot {
		b, err := enode.Parse(enode.ValidSchemes, s)
		must(err)
		if !b.IP().IsLoopback() {
			fatal(fmt.Errorf("-bootstrap: %s is not a loopback address", b.IP()))
		}
		boot = append(boot, b)
	}
	return append(o, node.WithDiscoveryV5(uint(port), boot, false))
}

func freeUDP(ip net.IP) int {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	must(err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// discover starts discv5, if it is asked for, and reports every record that it finds and go-waku's own predicate takes.
func (a *app) discover(ctx context.Context) {
	d := a.n.DiscV5()
	if d == nil {
		return
	}
	d.NAT = nil // no port mapping: this peer never leaves the machine
	must(d.Start(ctx))
	it, err := d.PeerIterator(d.DefaultPredicate())
	must(err)
	go func() {
		seen := map[string]bool{}
		d.Iterate(ctx, it, func(n *enode.Node, _ peer.AddrInfo) error {
			if s := n.String(); !seen[s] {
				seen[s] = true
				m, err := recordM(n)
				if err != nil {
					return err
				}
				emit("found", m)
			}
			return nil
		})
	}()
}

func recordM(n *enode.Node) (M, error) {
	id, addrs, err := wenr.Multiaddress(n)
	if err != nil {
		return nil, err
	}
	m := M{"enr": n.String(), "peer": id.String()}
	ss := []string{}
	for _, x := range addrs {
		ss = append(ss, x.String())
	}
	m["addrs"] = ss
	if rs, err := wenr.RelaySharding(n.Record()); err == nil && rs != nil {
		m["cluster"], m["shards"] = rs.ClusterID, rs.ShardIDs
	}
	return m, nil
}

// cmdPX asks on the wire itself: go-waku's client dials what it is given and returns nothing.
func (a *app) cmdPX(c *call) (M, error) {
	n, err := strconv.ParseUint(c.args[1], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("N: %w", err)
	}
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	s, err := a.n.Host().NewStream(c.ctx, p, peer_exchange.PeerExchangeID_v20alpha1)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if d, ok := c.ctx.Deadline(); ok {
		_ = s.SetDeadline(d)
	}
	if err := pbio.NewDelimitedWriter(s).WriteMsg(&pxpb.PeerExchangeRPC{Query: &pxpb.PeerExchangeQuery{NumPeers: n}}); err != nil {
		return nil, err
	}
	var r pxpb.PeerExchangeRPC
	if err := pbio.NewDelimitedReader(s, maxPXResponse).ReadMsg(&r); err != nil {
		return nil, err
	}
	peers := []M{}
	for _, i := range r.GetResponse().GetPeerInfos() {
		var rec enr.Record
		if err := rlp.DecodeBytes(i.Enr, &rec); err != nil {
			return nil, err
		}
		e, err := enode.New(enode.ValidSchemes, &rec) // checks the signature
		if err != nil {
			return nil, err
		}
		m, err := recordM(e)
		if err != nil {
			return nil, err
		}
		peers = append(peers, m)
	}
	return M{"peers": peers}, nil
}
