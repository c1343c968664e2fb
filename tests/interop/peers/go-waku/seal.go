package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"google.golang.org/protobuf/proto"

	"github.com/waku-org/go-waku/waku/v2/payload"
	"github.com/waku-org/go-waku/waku/v2/protocol/pb"
)

// maxKeys bounds the keys that every arriving message is tried with.
const maxKeys = 16

// parseKey reads sym:HEX, pub:HEX (sealing only) or asym:HEX (a private key: opening, or sealing for its owner).
func parseKey(s string) (*payload.KeyInfo, error) {
	kind, value, _ := strings.Cut(s, ":")
	b, err := unhex(value)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	switch kind {
	case "sym":
		if len(b) != 32 {
			return nil, errors.New("a symmetric key has 64 hex digits")
		}
		return &payload.KeyInfo{Kind: payload.Symmetric, SymKey: b}, nil
	case "pub":
		p, err := crypto.UnmarshalPubkey(b)
		if err != nil {
			return nil, err
		}
		return &payload.KeyInfo{Kind: payload.Asymmetric, PubKey: *p}, nil
	case "asym":
		k, err := crypto.ToECDSA(b)
		if err != nil {
			return nil, err
		}
		return &payload.KeyInfo{Kind: payload.Asymmetric, PubKey: k.PublicKey, PrivKey: k}, nil
	}
	return nil, fmt.Errorf("key %q: want sym:HEX, pub:HEX or asym:HEX", s)
}

// cmdPubSealed publishes a payload that go-waku's own encoder has sealed as version 1, unsigned.
func (a *app) cmdPubSealed(c *call) (M, error) {
	k, err := parseKey(c.args[2])
	if err != nil {
		return nil, err
	}
	k.PrivKey = nil // a key here would sign
	m, err := c.message(c.args[1], c.args[3])
	if err != nil {
		return nil, err
	}
	m.Version = proto.Uint32(1)
	if err := payload.EncodeWakuMessage(m, k); err != nil {
		return nil, err
	}
	return a.publish(c, m)
}

// cmdOpen adds a key that arriving version 1 messages are tried with.
func (a *app) cmdOpen(c *call) (M, error) {
	k, err := parseKey(c.args[0])
	if err != nil {
		return nil, err
	}
	if k.SymKey == nil && k.PrivKey == nil {
		return nil, errors.New("a public key opens nothing")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.keys) == maxKeys {
		return nil, errors.New("too many keys")
	}
	a.keys = append(a.keys, k)
	return M{"keys": len(a.keys)}, nil
}

// openWithKeys adds `opened` (and `sig`, the signer's public key) to the event if one of our keys opens the message.
func (a *app) openWithKeys(m *pb.WakuMessage, event M) {
	if m.GetVersion() != 1 {
		return
	}
	a.mu.Lock()
	keys := a.keys
	a.mu.Unlock()
	for _, k := range keys {
		d, err := payload.DecodePayload(m, k)
		if err != nil {
			continue
		}
		event["opened"] = hx(d.Data)
		if d.PubKey != nil {
			event["sig"] = hx(crypto.FromECDSAPub(d.PubKey))
		}
		return
	}
}
