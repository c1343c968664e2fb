package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/status-im/status-go/waku/common"
	v0 "github.com/status-im/status-go/waku/v0"
	v1 "github.com/status-im/status-go/waku/v1"
)

type packet struct {
	code uint64
	body []byte
	at   time.Time
}

// manner is how a client behaves.
type manner struct {
	light bool   // it says that it is light, and that it wants no envelope
	room  int    // packets that it holds until they are read
	from  net.IP // address that it dials from; nil is any
}

// everything is the manner of a client that is to be sent all envelopes.
var everything = manner{room: 1 << 14}

// client is one bare waku connection: it greets the node, and after that only carries packets.
type client struct {
	manner
	server *p2p.Server
	rw     p2p.MsgReadWriter
	in     chan packet
	quit   chan struct{}
}

// dial connects with a new identity and finishes the Status exchange.
func dial(url string, how manner) (*client, error) {
	to, err := enode.ParseV4(url)
	if err != nil {
		return nil, err
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	c := &client{manner: how, in: make(chan packet, how.room), quit: make(chan struct{})}
	up := make(chan error, 1)
	used := false
	run := func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
		if used { // the p2p server dials again by itself; a measurement must not go on over a second session
			return errors.New("one session only")
		}
		used = true
		c.rw = rw
		err := c.greet()
		up <- err
		if err != nil {
			return err
		}
		defer close(c.in)
		for {
			m, err := rw.ReadMsg()
			if err != nil {
				return err
			}
			b, err := io.ReadAll(m.Payload)
			if err != nil {
				return err
			}
			select {
			case c.in <- packet{m.Code, b, time.Now()}:
			case <-c.quit:
				return nil
			}
		}
	}
	c.server = &p2p.Server{Config: p2p.Config{PrivateKey: key, Name: "status-go-peer-bench", MaxPeers: 4, NoDiscovery: true,
		Logger: log.Root(), Protocols: []p2p.Protocol{{Name: "waku", Version: *bVersion, Length: 128, Run: run}}}}
	if how.from != nil {
		c.server.Dialer = p2p.TCPDialer{Dialer: &net.Dialer{Timeout: 15 * time.Second, LocalAddr: &net.TCPAddr{IP: how.from}}}
	}
	if err := c.server.Start(); err != nil {
		return nil, err
	}
	c.server.AddPeer(to)
	select {
	case err = <-up:
	case <-time.After(10 * time.Second):
		err = errors.New("no waku session within 10 s")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *client) close() {
	close(c.quit)
	c.server.Stop()
}

// greet exchanges Status: no proof of work asked for, everything accepted or nothing, no confirmations.
func (c *client) greet() error {
	no, zero, bloom := false, math.Float64bits(0), common.MakeFullNodeBloom()
	if c.light {
		bloom = make([]byte, len(bloom))
	}
	sent := make(chan error, 1)
	go func() {
		if *bVersion == 0 {
			sent <- p2p.SendItems(c.rw, codeStatus, v0.Version, v0.StatusOptions{PoWRequirement: &zero, BloomFilter: bloom,
				LightNodeEnabled: &c.light, ConfirmationsEnabled: &no, RateLimits: &common.RateLimits{}})
			return
		}
		sent <- p2p.Send(c.rw, codeStatus, v1.StatusOptions{PoWRequirement: &zero, BloomFilter: bloom, LightNodeEnabled: &c.light,
			ConfirmationsEnabled: &no, PacketRateLimits: &common.RateLimits{}, BytesRateLimits: &common.RateLimits{}})
	}()
	m, err := c.rw.ReadMsg()
	if err != nil {
		return err
	}
	if m.Code != codeStatus {
		return fmt.Errorf("first packet has code %d, not Status", m.Code)
	}
	if err := m.Discard(); err != nil {
		return err
	}
	return <-sent
}

func (c *client) send(b []byte) error {
	return c.rw.WriteMsg(p2p.Msg{Code: codeMessages, Size: uint32(len(b)), Payload: strings.NewReader(string(b))})
}

// drain reads and drops what the node sends on a connection that only feeds it.
func (c *client) drain() {
	for range c.in {
	}
}

// settle drops what a node sends a newcomer, which is its whole pool, until nothing has come for 700 ms. At first it waits
// longer than the slowest known broadcast interval.
func (c *client) settle() error {
	limit := time.After(10 * time.Second)
	for {
		select {
		case _, open := <-c.in:
			if !open {
				return errors.New("the node closed a receiving connection")
			}
		case <-time.After(700 * time.Millisecond):
			return nil
		case <-limit:
			return errors.New("the node does not become quiet: is something else feeding it?")
		}
	}
}
