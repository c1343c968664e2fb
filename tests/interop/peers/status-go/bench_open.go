package main

import (
	"crypto/rand"
	"errors"
	"runtime"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/status-im/status-go/waku/common"
)

// opened is how many different envelopes are opened in turn.
const opened = 64

// benchOpen measures opening on one thread, from sealed data to payload and signer, and prints the data, so that others open the same.
func benchOpen() error {
	symmetric := make([]byte, common.AESKeyLength)
	if _, err := rand.Read(symmetric); err != nil {
		return err
	}
	private, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	sealed := common.MessageParams{KeySym: symmetric, Src: private}
	err = timeOpening("symmetric, signed", sealed, symmetric, func(e *common.Envelope) (*common.ReceivedMessage, error) {
		return e.OpenSymmetric(symmetric)
	})
	if err != nil {
		return err
	}
	sealed = common.MessageParams{Dst: &private.PublicKey}
	return timeOpening("asymmetric, unsigned", sealed, crypto.FromECDSA(private), func(e *common.Envelope) (*common.ReceivedMessage, error) {
		return e.OpenAsymmetric(private)
	})
}

func timeOpening(what string, p common.MessageParams, key []byte, open func(*common.Envelope) (*common.ReceivedMessage, error)) error {
	list, data := make([]*common.Envelope, opened), make([]string, opened)
	for i := range list {
		p.TTL, p.WorkTime, p.Payload = uint32(*bTTL), 1, make([]byte, *bPayload)
		if _, err := rand.Read(p.Payload); err != nil {
			return err
		}
		e, err := wrap(&p, time.Now())
		if err != nil {
			return err
		}
		list[i], data[i] = e, toHex(e.Data)
	}
	extra := fields{"payload": *bPayload, "key": toHex(key), "data": data}
	return timed(what, opened, extra, func() error {
		for _, e := range list {
			if m, err := open(e); err != nil {
				return err
			} else if !m.ValidateAndParse() {
				return errors.New("what was sealed does not open")
			}
		}
		return nil
	})
}
