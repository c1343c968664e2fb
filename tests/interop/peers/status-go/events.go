package main

import (
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/status-im/status-go/waku/common"
)

// peerEvents reports who left, and what ended the session.
func (n *node) peerEvents(events chan *p2p.PeerEvent) {
	for e := range events {
		if e.Type != p2p.PeerEventTypeDrop {
			continue
		}
		n.mu.Lock()
		l := n.links[e.Peer]
		delete(n.links, e.Peer)
		reason := ""
		if l != nil {
			reason = l.err
		}
		n.mu.Unlock()
		emit("peer-dropped", fields{"peer": e.Peer.String(), "reason": e.Error, "waku_error": reason})
	}
}

// envelopeEvents passes on what status-go says became of each envelope.
func (n *node) envelopeEvents(events chan common.EnvelopeEvent) {
	for e := range events {
		f := fields{"peer": e.Peer.String()}
		switch e.Event {
		case common.EventEnvelopeReceived:
			f["hash"] = e.Hash.Hex()
			f["pooled"] = n.w.IsEnvelopeCached(e.Hash)
			emit("envelope-received", f)
		case common.EventEnvelopeSent:
			f["hash"] = e.Hash.Hex()
			f["batch"] = e.Batch.Hex()
			emit("envelope-sent", f)
		case common.EventMailServerEnvelopeArchived:
			emit("archived", fields{"hash": e.Hash.Hex()})
		case common.EventEnvelopeExpired:
			emit("envelope-expired", fields{"hash": e.Hash.Hex()})
		case common.EventBatchAcknowledged:
			f["batch"] = e.Batch.Hex()
			if list, ok := e.Data.([]common.EnvelopeError); ok {
				rejected := []fields{}
				for _, x := range list {
					rejected = append(rejected, fields{"hash": x.Hash.Hex(), "code": x.Code, "description": x.Description})
				}
				f["errors"] = rejected
			}
			emit("batch-acknowledged", f)
		}
	}
}

// inbox hands every message that a filter opened to standard output.
type inbox struct{ sub string }

func (b *inbox) Add(m *common.ReceivedMessage) error {
	if *optQuiet {
		return nil
	}
	f := fields{"sub": b.sub, "hash": m.EnvelopeHash.Hex(), "topic": toHex(m.Topic[:]), "payload": toHex(m.Payload),
		"padding": len(m.Padding), "pow": m.PoW, "ttl": m.TTL, "sent": m.Sent, "sig": ""}
	if m.Src != nil {
		f["sig"] = toHex(crypto.FromECDSAPub(m.Src))
	}
	emit("message-decrypted", f)
	return nil
}

func (b *inbox) Pop() ([]*common.ReceivedMessage, error) { return nil, nil }
