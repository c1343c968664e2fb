package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

// link is one running waku session. It sits between status-go and the connection and reports what passes.
type link struct {
	p2p.MsgReadWriter
	n       *node
	peer    *p2p.Peer
	version uint
	greeted bool
	err     string
}

// tapped wraps a protocol of status-go so that its sessions go through a link.
func (n *node) tapped(proto p2p.Protocol) p2p.Protocol {
	run := proto.Run
	proto.Run = func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		l := &link{MsgReadWriter: rw, n: n, peer: peer, version: proto.Version}
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

// body reads a packet to its end and puts the bytes back for the next reader.
func body(m *p2p.Msg) ([]byte, error) {
	b, err := io.ReadAll(m.Payload)
	m.Payload = bytes.NewReader(b)
	return b, err
}

func (l *link) ReadMsg() (p2p.Msg, error) {
	m, err := l.MsgReadWriter.ReadMsg()
	if err != nil || (*optQuiet && l.greeted) {
		return m, err
	}
	b, err := body(&m)
	if err != nil {
		return m, err
	}
	id := l.peer.ID().String()
	if *optTrace {
		emit("packet", fields{"dir": "in", "peer": id, "code": m.Code, "size": m.Size, "body": toHex(b)})
	}
	switch {
	case m.Code == codeStatus && !l.greeted:
		l.greeted = true
		f := peerFields(l.peer)
		f["waku"] = l.version
		f["status"] = toHex(b)
		emit("peer-added", f)
	case m.Code == codeStatusUpdate:
		emit("status-update", fields{"dir": "in", "peer": id, "body": toHex(b)})
	case m.Code == codeP2PMessages:
		if err := mailArrived(id, b); err != nil {
			emit("bad-packet", fields{"peer": id, "code": m.Code, "size": m.Size, "error": err.Error()})
		}
	case m.Code == codeMessages:
		var list []*common.Envelope
		if err := rlp.DecodeBytes(b, &list); err != nil {
			emit("bad-packet", fields{"peer": id, "code": m.Code, "size": m.Size, "error": err.Error()})
			list = nil // a failed decode leaves holes in it
		}
		for _, e := range list {
			f := envelopeFields(e)
			f["peer"] = id
			emit("envelope-arrived", f)
		}
	}
	return m, nil
}

func (l *link) WriteMsg(m p2p.Msg) error {
	if !*optQuiet && (*optTrace || m.Code == codeStatusUpdate) {
		b, err := body(&m)
		if err != nil {
			return err
		}
		id := l.peer.ID().String()
		if *optTrace {
			emit("packet", fields{"dir": "out", "peer": id, "code": m.Code, "size": m.Size, "body": toHex(b)})
		}
		if m.Code == codeStatusUpdate {
			emit("status-update", fields{"dir": "out", "peer": id, "body": toHex(b)})
		}
	}
	return l.MsgReadWriter.WriteMsg(m)
}

func peerFields(p *p2p.Peer) fields {
	return fields{"peer": p.ID().String(), "enode": p.Node().URLv4(), "name": p.Name(), "caps": fmt.Sprint(p.Caps()),
		"inbound": p.Inbound(), "remote": p.RemoteAddr().String()}
}

// envelopeFields shows an envelope; data_sha256 identifies the sealed bytes on both networks.
func envelopeFields(e *common.Envelope) fields {
	sealed := sha256.Sum256(e.Data)
	return fields{"hash": e.Hash().Hex(), "topic": toHex(e.Topic[:]), "ttl": e.TTL, "expiry": e.Expiry, "pow": e.PoW(),
		"size": e.Size(), "nonce": e.Nonce, "data_sha256": toHex(sealed[:])}
}
