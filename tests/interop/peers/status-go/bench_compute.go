package main

import (
	"crypto/rand"
	"runtime"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

// timed repeats f, which does k operations, for -secs, -runs times, and prints the median rate per second of CPU.
func timed(what string, k int, extra fields, f func() error) error {
	var rate []float64
	for run := 0; run < *bRuns; run++ {
		n, cpu, start := 0, ownCPU(), time.Now()
		for time.Since(start).Seconds() < *bSeconds {
			if err := f(); err != nil {
				return err
			}
			n += k
		}
		rate = append(rate, float64(n)/(ownCPU()-cpu))
	}
	line := fields{"what": what, "per_cpu_s": quantile(rate, 0.5), "us_each": 1e6 / quantile(rate, 0.5),
		"lowest": quantile(rate, 0), "highest": quantile(rate, 1), "runs": *bRuns}
	for k, v := range extra {
		line[k] = v
	}
	emit("median", line)
	return nil
}

// benchValidate measures what status-go computes for each received envelope, on one thread.
func benchValidate() error {
	if *bTTL < 600 {
		*bTTL = 600
	}
	list, err := envelopes(2000, 0)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	raw := make([][]byte, len(list))
	bloom := make([]byte, common.BloomFilterSize)
	for i, e := range list {
		if raw[i], err = rlp.EncodeToBytes(e); err != nil {
			return err
		}
		for j, x := range e.Topic.ToBloom() {
			if i < 200 {
				bloom[j] |= x
			}
		}
	}
	size := fields{"envelope_bytes": len(raw[0])}
	accepted := 0
	err = timed("decode + hash + PoW + bloom match", len(raw), size, func() error {
		for _, b := range raw {
			var e common.Envelope
			if err := rlp.DecodeBytes(b, &e); err != nil {
				return err
			}
			_ = e.Hash()
			if e.PoW() >= *bPow && common.BloomFilterMatch(bloom, e.Bloom()) {
				accepted++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = timed("decode + hash", len(raw), size, func() error {
		for _, b := range raw {
			var e common.Envelope
			if err := rlp.DecodeBytes(b, &e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = timed("PoW", len(list), size, func() error {
		for _, e := range list {
			e.CalculatePoW(0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return timed("bloom of topic + match", len(list), nil, func() error {
		for _, e := range list {
			if common.BloomFilterMatch(bloom, e.Topic.ToBloom()) {
				accepted++
			}
		}
		return nil
	})
}

// benchPow measures status-go's sealing loop on one thread, in nonces a second of CPU.
func benchPow() error {
	runtime.GOMAXPROCS(1)
	for _, payload := range []int{1, 256, 1024} {
		var rate []float64
		hashed := 0
		for run := 0; run < *bRuns; run++ {
			nonces, seconds := 0.0, 0.0
			for seconds < *bSeconds {
				key, text := make([]byte, common.AESKeyLength), make([]byte, payload)
				if _, err := rand.Read(key); err != nil {
					return err
				}
				p := &common.MessageParams{TTL: 10, KeySym: key, WorkTime: 100, Payload: text}
				e, err := wrap(p, time.Now()) // target 0: not sealed yet
				if err != nil {
					return err
				}
				p.PoW = 20
				cpu := ownCPU()
				if err := e.Seal(p); err != nil {
					return err
				}
				seconds += ownCPU() - cpu
				nonces += float64(e.Nonce + 1)
				short, err := rlp.EncodeToBytes([]interface{}{e.Expiry, e.TTL, e.Topic, e.Data})
				if err != nil {
					return err
				}
				hashed = len(short) + 8
			}
			rate = append(rate, nonces/seconds)
		}
		emit("median", fields{"what": "seal", "payload": payload, "hashed_bytes": hashed, "nonces_per_cpu_s": quantile(rate, 0.5),
			"lowest": quantile(rate, 0), "highest": quantile(rate, 1), "runs": *bRuns})
	}
	return nil
}
