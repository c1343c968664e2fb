package main

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

func parseTopic(s string) (common.TopicType, error) {
	b, err := fromHex(s)
	if err != nil || len(b) != common.TopicLength {
		return common.TopicType{}, fmt.Errorf("topic %q: want 8 hex digits", s)
	}
	return common.BytesToTopic(b), nil
}

func parseTopics(s string) ([]common.TopicType, error) {
	list := []common.TopicType{}
	if s == "none" {
		return list, nil
	}
	for _, x := range strings.Split(s, ",") {
		t, err := parseTopic(x)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (n *node) setTopics(s string) error {
	list, err := parseTopics(s)
	if err != nil {
		return err
	}
	n.w.SetBloomFilterMode(false)
	return n.w.SetTopicInterest(list)
}

func (n *node) setBloom(s string) error {
	b, err := fromHex(s)
	if err != nil {
		return err
	}
	n.w.SetBloomFilterMode(true)
	return n.w.SetBloomFilter(b)
}

// workTime is the longest that sealing may take, in seconds.
const workTime = 20

// keys is a parsed KEYSPEC: one of a symmetric key, a private key and a public key.
type keys struct {
	sym  []byte
	priv *ecdsa.PrivateKey
	pub  *ecdsa.PublicKey
}

func (n *node) parseKey(s string) (k keys, err error) {
	kind, value := s, ""
	if i := strings.IndexByte(s, ':'); i >= 0 {
		kind, value = s[:i], s[i+1:]
	}
	switch kind {
	case "pw":
		var id string
		if id, err = n.w.AddSymKeyFromPassword(value); err == nil {
			k.sym, err = n.w.GetSymKey(id)
		}
	case "sym":
		if k.sym, err = fromHex(value); err == nil && len(k.sym) != common.AESKeyLength {
			err = errors.New("a symmetric key has 64 hex digits")
		}
	case "asym":
		k.priv = n.key
		if value != "" {
			k.priv, err = nodeKey(value)
		}
		if err == nil {
			k.pub = &k.priv.PublicKey
		}
	case "pub":
		var b []byte
		if b, err = fromHex(value); err == nil {
			k.pub, err = crypto.UnmarshalPubkey(b)
		}
	default:
		err = fmt.Errorf("key %q: want pw:TEXT, sym:HEX, asym, asym:HEX or pub:HEX", s)
	}
	return k, err
}

// parseParams reads TOPIC TTL POW HEXPAYLOAD.
func parseParams(a []string) (*common.MessageParams, error) {
	topic, err := parseTopic(a[0])
	if err != nil {
		return nil, err
	}
	ttl, err := strconv.ParseUint(a[1], 10, 32)
	if err != nil {
		return nil, err
	}
	pow, err := strconv.ParseFloat(a[2], 64)
	if err != nil {
		return nil, err
	}
	payload, err := fromHex(a[3])
	return &common.MessageParams{TTL: uint32(ttl), Topic: topic, PoW: pow, WorkTime: workTime, Payload: payload}, err
}

// around makes an envelope of data that somebody else has encrypted: TOPIC TTL POW HEXDATA
func around(a []string) (*common.Envelope, error) {
	p, err := parseParams(a)
	if err != nil {
		return nil, err
	}
	return enclose(p)
}

// enclose puts the payload into an envelope as it is.
func enclose(p *common.MessageParams) (*common.Envelope, error) {
	m, err := common.NewSentMessage(p)
	if err != nil {
		return nil, err
	}
	m.Raw = p.Payload
	e := common.NewEnvelope(p.TTL, p.Topic, m, time.Now())
	return e, e.Seal(p)
}

// build makes an envelope of: KEYSPEC TOPIC TTL POW HEXPAYLOAD [sign] [sign=HEX] [shift=SECONDS]
func (n *node) build(a []string) (*common.Envelope, error) {
	if len(a) < 5 {
		return nil, errors.New("want KEYSPEC TOPIC TTL POW HEXPAYLOAD [sign] [sign=HEX] [shift=SECONDS]")
	}
	k, err := n.parseKey(a[0])
	if err != nil {
		return nil, err
	}
	p, err := parseParams(a[1:5])
	if err != nil {
		return nil, err
	}
	p.KeySym, p.Dst = k.sym, k.pub
	now := time.Now()
	for _, option := range a[5:] {
		switch {
		case option == "sign":
			p.Src = n.key
		case strings.HasPrefix(option, "sign="):
			if p.Src, err = nodeKey(option[5:]); err != nil {
				return nil, err
			}
		case strings.HasPrefix(option, "shift="):
			s, err := strconv.Atoi(option[6:])
			if err != nil {
				return nil, err
			}
			now = now.Add(time.Duration(s) * time.Second)
		default:
			return nil, fmt.Errorf("unknown option %q", option)
		}
	}
	return wrap(p, now)
}

// wrap encrypts and seals a payload.
func wrap(p *common.MessageParams, now time.Time) (*common.Envelope, error) {
	m, err := common.NewSentMessage(p)
	if err != nil {
		return nil, err
	}
	return m.Wrap(p, now)
}

// withBytes shows an envelope with all its bytes, and its sealed data alone.
func withBytes(e *common.Envelope) (fields, error) {
	b, err := rlp.EncodeToBytes(e)
	f := envelopeFields(e)
	f["envelope"], f["data"] = toHex(b), toHex(e.Data)
	return f, err
}
