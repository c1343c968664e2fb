package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku"
	"github.com/status-im/status-go/waku/common"
)

// mailRequest is what status-go's own client encodes: MessagesRequestPayload of its package mailserver.
type mailRequest struct {
	Lower, Upper uint32
	Bloom        []byte
	Topics       [][]byte
	Limit        uint32
	Cursor       []byte
	Batch        bool
}

// codes of packets between a mail server and its client; status-go keeps its own constants private.
const (
	codeP2PRequestComplete = 125
	codeP2PRequest         = 126
	codeP2PMessages        = 127
)

var listening sync.Once

// listenForMail reports what status-go makes of the end of an answer.
func (n *node) listenForMail() {
	events := make(chan common.EnvelopeEvent, 1<<12)
	n.w.SubscribeEnvelopeEvents(events)
	go func() {
		for e := range events {
			if e.Event != common.EventMailServerRequestCompleted {
				continue
			}
			f := fields{"request": e.Hash.Hex(), "peer": e.Peer.String()}
			if r, ok := e.Data.(*waku.MailServerResponse); ok {
				f["last"] = r.LastEnvelopeHash.Hex()
				f["cursor"] = toHex(r.Cursor)
				if r.Error != nil {
					f["error"] = r.Error.Error()
				}
			}
			emit("mail-completed", f)
		}
	}()
}

// askMail asks a peer for history: sealed as the Status app does, or in the open.
func (n *node) askMail(name string, a []string) error {
	if err := want(a, 8, "ENODE KEYSPEC|plain LOWER UPPER TOPIC[,TOPIC]|none LIMIT CURSORHEX|none true|false"); err != nil {
		return err
	}
	peer, err := enode.ParseV4(a[0])
	if err != nil {
		return err
	}
	var numbers [3]uint32
	for i, s := range []string{a[2], a[3], a[5]} {
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return err
		}
		numbers[i] = uint32(v)
	}
	topics, err := parseTopics(a[4])
	if err != nil {
		return err
	}
	r := mailRequest{Lower: numbers[0], Upper: numbers[1], Limit: numbers[2], Batch: a[7] == "true", Bloom: common.MakeFullNodeBloom()}
	if len(topics) > 0 {
		r.Bloom = make([]byte, common.BloomFilterSize)
	}
	for _, t := range topics {
		t := t
		r.Topics = append(r.Topics, t[:])
		for i, b := range t.ToBloom() {
			r.Bloom[i] |= b
		}
	}
	if a[6] != "none" {
		if r.Cursor, err = fromHex(a[6]); err != nil {
			return err
		}
	}
	listening.Do(n.listenForMail)
	if a[1] == "plain" {
		request := common.MessagesRequest{ID: make([]byte, 32), From: r.Lower, To: r.Upper, Limit: r.Limit,
			Cursor: r.Cursor, Bloom: r.Bloom, Topics: r.Topics}
		if _, err := rand.Read(request.ID); err != nil {
			return err
		}
		if err := n.w.SendMessagesRequest(peer.ID().Bytes(), request); err != nil {
			return err
		}
		emit("mail-asked", fields{"request": toHex(request.ID)})
		return nil
	}
	payload, err := rlp.EncodeToBytes(r)
	if err != nil {
		return err
	}
	e, err := n.build([]string{a[1], "00000000", "50", "0.002", hex.EncodeToString(payload), "sign"})
	if err != nil {
		return err
	}
	emit("mail-asked", fields{"request": e.Hash().Hex()})
	return n.w.RequestHistoricMessages(peer.ID().Bytes(), e)
}

// mailArrived reports a packet of history before status-go judges it.
func mailArrived(peer string, b []byte) error {
	var list []*common.Envelope
	if err := rlp.DecodeBytes(b, &list); err != nil {
		return errors.New("not a list of envelopes: " + err.Error())
	}
	hashes := []string{}
	for _, e := range list {
		hashes = append(hashes, e.Hash().Hex())
	}
	emit("mail-arrived", fields{"peer": peer, "size": len(b), "hashes": strings.Join(hashes, ",")})
	return nil
}
