package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	shh "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// Packet codes of shh/6; go-ethereum keeps its own constants private.
const (
	codeStatus   = 0
	codeMessages = 1
	codePow      = 2
	codeBloom    = 3
	codeDirect   = 127
)

// link is one running session. It sits between go-ethereum and the connection and reports what passes.
type link struct {
	p2p.MsgReadWriter
	peer *p2p.Peer
	err  string
}

// tapped wraps Whisper so that its sessions go through a link.
func (n *node) tapped(proto p2p.Protocol) p2p.Protocol {
	run := proto.Run
	proto.Run = func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		l := &link{MsgReadWriter: rw, peer: peer}
		n.mu.Lock()
		n.links[peer.ID()] = l
		n.mu.Unlock()
		err := run(peer, l)
		n.mu.Lock()
		if err != nil {
			l.err = err.Error()
		}
		n.mu.Unlock()
		return err
	}
	return proto
}

func (l *link) ReadMsg() (p2p.Msg, error) {
	m, err := l.MsgReadWriter.ReadMsg()
	if err != nil {
		return m, err
	}
	b, err := io.ReadAll(m.Payload)
	m.Payload = bytes.NewReader(b)
	if err != nil {
		return m, err
	}
	id := l.peer.ID().String()
	switch m.Code {
	case codeStatus:
		emit("peer-added", fields{"peer": id, "enode": l.peer.Node().URLv4(), "name": l.peer.Name(),
			"caps": fmt.Sprint(l.peer.Caps()), "inbound": l.peer.Inbound(), "status": toHex(b)})
	case codePow, codeBloom:
		emit("status-update", fields{"dir": "in", "peer": id, "code": m.Code, "body": toHex(b)})
	case codeMessages, codeDirect:
		for _, e := range envelopes(b) {
			f := envelopeFields(e)
			f["peer"], f["code"] = id, m.Code
			emit("envelope-arrived", f)
		}
	}
	return m, nil
}

// envelopes reads a list of envelopes, or the bare one that code 127 carries.
func envelopes(b []byte) []*shh.Envelope {
	var list []*shh.Envelope
	if rlp.DecodeBytes(b, &list) == nil {
		return list
	}
	var one shh.Envelope
	if err := rlp.DecodeBytes(b, &one); err != nil {
		emit("bad-packet", fields{"size": len(b), "error": err.Error()})
		return nil
	}
	return []*shh.Envelope{&one}
}

// envelopeFields shows an envelope; data_sha256 identifies the sealed bytes on every network.
func envelopeFields(e *shh.Envelope) fields {
	sealed := sha256.Sum256(e.Data)
	return fields{"hash": e.Hash().Hex(), "topic": toHex(e.Topic[:]), "ttl": e.TTL, "expiry": e.Expiry, "pow": e.PoW(),
		"nonce": e.Nonce, "data_sha256": toHex(sealed[:])}
}

// peerEvents reports who left, and what ended the session.
func (n *node) peerEvents(events chan *p2p.PeerEvent) {
	for e := range events {
		if e.Type != p2p.PeerEventTypeDrop {
			continue
		}
		n.mu.Lock()
		reason := ""
		if l := n.links[e.Peer]; l != nil {
			reason = l.err
		}
		delete(n.links, e.Peer)
		n.mu.Unlock()
		emit("peer-dropped", fields{"peer": e.Peer.String(), "reason": e.Error, "waku_error": reason})
	}
}

// poll shows what filters opened: go-ethereum keeps it until it is asked.
func (n *node) poll() {
	for range time.Tick(20 * time.Millisecond) {
		n.mu.Lock()
		filters := n.filters
		n.mu.Unlock()
		for _, filter := range filters {
			for _, m := range filter.Retrieve() {
				emit("message-decrypted", fields{"hash": m.EnvelopeHash.Hex(), "topic": toHex(m.Topic[:]),
					"payload": toHex(m.Payload), "pow": m.PoW, "ttl": m.TTL, "sent": m.Sent})
			}
		}
	}
}
