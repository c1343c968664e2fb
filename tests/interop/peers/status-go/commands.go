package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

func (n *node) addPeer(url string) error {
	e, err := enode.ParseV4(url)
	if err != nil {
		return err
	}
	n.server.AddPeer(e)
	return nil
}

// find gives the live session that s names: an enode URL, or the start of a node id.
func (n *node) find(s string) (*link, error) {
	want := s
	if strings.HasPrefix(s, "enode://") {
		e, err := enode.ParseV4(s)
		if err != nil {
			return nil, err
		}
		want = e.ID().String()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, l := range n.links {
		if strings.HasPrefix(id.String(), want) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no connected peer %q", s)
}

// write sends one packet outside status-go's own rules, to one peer or ("*") to all.
func (n *node) write(to string, code uint64, b []byte) (int, error) {
	var targets []*link
	if to == "*" {
		n.mu.Lock()
		for _, l := range n.links {
			targets = append(targets, l)
		}
		n.mu.Unlock()
	} else {
		l, err := n.find(to)
		if err != nil {
			return 0, err
		}
		targets = append(targets, l)
	}
	if len(targets) == 0 {
		return 0, errors.New("no connected peer")
	}
	for _, l := range targets {
		if err := l.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(b)), Payload: bytes.NewReader(b)}); err != nil {
			return 0, err
		}
	}
	return len(targets), nil
}

func (n *node) command(a []string) {
	if err := n.execute(a[0], a[1:]); err != nil {
		emit("error", fields{"cmd": a[0], "error": err.Error()})
	}
}

func want(a []string, least int, usage string) error {
	if len(a) < least {
		return errors.New("want " + usage)
	}
	return nil
}

func (n *node) execute(name string, a []string) error {
	done := func(err error) error {
		if err == nil {
			emit("ok", fields{"cmd": name})
		}
		return err
	}
	switch name {
	case "sub":
		return n.subscribe(a)
	case "unsub":
		if err := want(a, 1, "ID"); err != nil {
			return err
		}
		return done(n.w.Unsubscribe(a[0]))
	case "mail":
		return n.askMail(name, a)
	case "send", "make":
		e, err := n.build(a)
		if err != nil {
			return err
		}
		return n.emitEnvelope(e, name == "send")
	case "wrap":
		if err := want(a, 4, "TOPIC TTL POW HEXDATA"); err != nil {
			return err
		}
		e, err := around(a)
		if err != nil {
			return err
		}
		return n.emitEnvelope(e, true)
	case "pool":
		if err := want(a, 1, "ENVELOPEHEX"); err != nil {
			return err
		}
		return n.toPool(a[0])
	case "raw":
		if err := want(a, 1, "ENVELOPEHEX [ENODE]"); err != nil {
			return err
		}
		b, err := fromHex(a[0])
		if err != nil {
			return err
		}
		packet, err := rlp.EncodeToBytes([]rlp.RawValue{b})
		if err != nil {
			return err
		}
		return n.writeTo(name, append(a, "*")[1], codeMessages, packet)
	case "packet":
		if err := want(a, 3, "ENODE|* CODE HEXBODY"); err != nil {
			return err
		}
		code, err := strconv.ParseUint(a[1], 10, 32)
		if err != nil {
			return err
		}
		b, err := fromHex(a[2])
		if err != nil {
			return err
		}
		return n.writeTo(name, a[0], code, b)
	case "bloom":
		if err := want(a, 1, "HEX"); err != nil {
			return err
		}
		return done(n.setBloom(a[0]))
	case "topics":
		if err := want(a, 1, "TOPIC,TOPIC|none"); err != nil {
			return err
		}
		return done(n.setTopics(a[0]))
	case "minpow":
		if err := want(a, 1, "POW"); err != nil {
			return err
		}
		pow, err := strconv.ParseFloat(a[0], 64)
		if err != nil {
			return err
		}
		return done(n.w.SetMinimumPoW(pow, true))
	case "light":
		if err := want(a, 1, "on|off"); err != nil {
			return err
		}
		n.w.SetLightClientMode(a[0] == "on")
		return done(nil)
	case "addpeer":
		if err := want(a, 1, "ENODE"); err != nil {
			return err
		}
		return done(n.addPeer(a[0]))
	case "droppeer":
		if err := want(a, 1, "ENODE"); err != nil {
			return err
		}
		l, err := n.find(a[0])
		if err != nil {
			return err
		}
		n.server.RemovePeer(l.peer.Node())
		l.peer.Disconnect(p2p.DiscRequested)
		return done(nil)
	case "peers":
		list := []fields{}
		n.mu.Lock()
		for _, l := range n.links {
			f := peerFields(l.peer)
			f["waku"] = l.version
			list = append(list, f)
		}
		n.mu.Unlock()
		emit("peers", fields{"peers": list})
		return nil
	case "stats":
		rss, peak := procMemory(os.Getpid())
		emit("stats", fields{"pool": len(n.w.Envelopes()), "peers": n.server.PeerCount(), "cpu_s": ownCPU(), "rss_mb": rss, "peak_rss_mb": peak})
		return nil
	case "quit":
		n.quit()
	}
	return errors.New("unknown command")
}

// emitEnvelope shows an envelope that was made here, and before that hands it to status-go if it is to be sent.
func (n *node) emitEnvelope(e *common.Envelope, send bool) error {
	f, err := withBytes(e)
	if err != nil {
		return err
	}
	if !send {
		emit("made", f)
		return nil
	}
	if err := n.w.Send(e); err != nil {
		return err
	}
	emit("sent", f)
	return nil
}

func (n *node) subscribe(a []string) error {
	if err := want(a, 2, "KEYSPEC TOPIC[,TOPIC]"); err != nil {
		return err
	}
	k, err := n.parseKey(a[0])
	if err != nil {
		return err
	}
	if k.sym == nil && k.priv == nil {
		return errors.New("a public key opens nothing")
	}
	topics, err := parseTopics(a[1])
	if err != nil {
		return err
	}
	f := &common.Filter{KeySym: k.sym, KeyAsym: k.priv, AllowP2P: true, Messages: &inbox{a[0] + " " + a[1]}}
	for i := range topics {
		f.Topics = append(f.Topics, topics[i][:])
	}
	id, err := n.w.Subscribe(f)
	if err != nil {
		return err
	}
	emit("subscribed", fields{"id": id})
	return nil
}

// toPool hands an envelope to status-go as if it had made it itself: checked, pooled, then broadcast.
func (n *node) toPool(s string) error {
	b, err := fromHex(s)
	if err != nil {
		return err
	}
	var e common.Envelope
	if err := rlp.DecodeBytes(b, &e); err != nil {
		return err
	}
	if err := n.w.Send(&e); err != nil {
		return err
	}
	emit("sent", envelopeFields(&e))
	return nil
}

func (n *node) writeTo(cmd, to string, code uint64, b []byte) error {
	count, err := n.write(to, code, b)
	if err == nil {
		emit("ok", fields{"cmd": cmd, "peers": count, "packet_hash": crypto.Keccak256Hash(b).Hex()})
	}
	return err
}
