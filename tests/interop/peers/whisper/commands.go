package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	shh "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// workTime is the longest that sealing may take, in seconds.
const workTime = 20

// wanted is how many words each command needs, and which.
var wanted = map[string][]string{
	"sub": {"KEYSPEC", "TOPIC,TOPIC"}, "send": {"KEYSPEC", "TOPIC", "TTL", "POW", "HEXPAYLOAD"},
	"make": {"KEYSPEC", "TOPIC", "TTL", "POW", "HEXPAYLOAD"}, "raw": {"ENVELOPEHEX", "ENODE"},
	"p2p": {"ENVELOPEHEX", "ENODE"}, "trust": {"ENODE"}, "bloom": {"HEX"}, "minpow": {"POW"}, "addpeer": {"ENODE"},
}

func (n *node) execute(name string, a []string) error {
	words, known := wanted[name]
	if !known {
		return errors.New("unknown command")
	}
	if len(a) < len(words) {
		return errors.New("want " + strings.Join(words, " "))
	}
	var err error
	switch name {
	case "send", "make":
		return n.envelope(a, name == "send")
	case "sub":
		return n.subscribe(a)
	case "raw":
		err = n.write(a[0], a[1], codeMessages)
	case "p2p":
		err = n.write(a[0], a[1], codeDirect)
	case "trust":
		var peer *enode.Node
		if peer, err = enode.ParseV4(a[0]); err == nil {
			err = n.w.AllowP2PMessagesFromPeer(peer.ID().Bytes())
		}
	case "bloom":
		err = n.setBloom(a[0])
	case "minpow":
		var pow float64
		if pow, err = strconv.ParseFloat(a[0], 64); err == nil {
			err = n.w.SetMinimumPoW(pow)
		}
	case "addpeer":
		err = n.addPeer(a[0])
	}
	if err == nil {
		emit("ok", fields{"cmd": name})
	}
	return err
}

// key32 reads pw:TEXT or sym:HEX.
func (n *node) key32(s string) ([]byte, error) {
	switch {
	case strings.HasPrefix(s, "pw:"):
		id, err := n.w.AddSymKeyFromPassword(s[3:])
		if err != nil {
			return nil, err
		}
		return n.w.GetSymKey(id)
	case strings.HasPrefix(s, "sym:"):
		key, err := fromHex(s[4:])
		if err == nil && len(key) != 32 {
			err = errors.New("a symmetric key has 64 hex digits")
		}
		return key, err
	}
	return nil, fmt.Errorf("key %q: want pw:TEXT or sym:HEX", s)
}

func parseTopic(s string) (shh.TopicType, error) {
	b, err := fromHex(s)
	if err != nil || len(b) != shh.TopicLength {
		return shh.TopicType{}, fmt.Errorf("topic %q: want 8 hex digits", s)
	}
	return shh.BytesToTopic(b), nil
}

// envelope makes one of KEYSPEC TOPIC TTL POW HEXPAYLOAD, and sends it if asked.
func (n *node) envelope(a []string, send bool) error {
	key, err := n.key32(a[0])
	if err != nil {
		return err
	}
	topic, err := parseTopic(a[1])
	if err != nil {
		return err
	}
	ttl, err := strconv.ParseUint(a[2], 10, 32)
	if err != nil {
		return err
	}
	pow, err := strconv.ParseFloat(a[3], 64)
	if err != nil {
		return err
	}
	payload, err := fromHex(a[4])
	if err != nil {
		return err
	}
	p := &shh.MessageParams{TTL: uint32(ttl), Topic: topic, PoW: pow, WorkTime: workTime, Payload: payload, KeySym: key}
	m, err := shh.NewSentMessage(p)
	if err != nil {
		return err
	}
	e, err := m.Wrap(p)
	if err != nil {
		return err
	}
	raw, err := rlp.EncodeToBytes(e)
	if err != nil {
		return err
	}
	f := envelopeFields(e)
	f["envelope"] = toHex(raw)
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
	key, err := n.key32(a[0])
	if err != nil {
		return err
	}
	f := &shh.Filter{KeySym: key, AllowP2P: true}
	for _, s := range strings.Split(a[1], ",") {
		topic, err := parseTopic(s)
		if err != nil {
			return err
		}
		f.Topics = append(f.Topics, topic[:])
	}
	id, err := n.w.Subscribe(f)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.filters = append(n.filters, f)
	n.mu.Unlock()
	emit("subscribed", fields{"id": id})
	return nil
}

// write sends an envelope past all rules of go-ethereum: in a list, or under code 127 bare.
func (n *node) write(envelope, url string, code uint64) error {
	peer, err := enode.ParseV4(url)
	if err != nil {
		return err
	}
	b, err := fromHex(envelope)
	if err == nil && code == codeMessages {
		b, err = rlp.EncodeToBytes([]rlp.RawValue{b})
	}
	if err != nil {
		return err
	}
	n.mu.Lock()
	l := n.links[peer.ID()]
	n.mu.Unlock()
	if l == nil {
		return errors.New("no connected peer " + url)
	}
	return l.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(b)), Payload: bytes.NewReader(b)})
}
