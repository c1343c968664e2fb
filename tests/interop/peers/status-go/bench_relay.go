package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	mrand "math/rand"
	"runtime"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

func benchRelay() error {
	return alternate(relayOnce, []string{"env_per_s", "cpu_s", "cpu_us_per_env", "peak_rss_mb", "driver_cpu_s", "others"})
}

// result is what one receiving connection had by the end of a run.
type result struct {
	tally
	last    time.Time
	largest int
}

// collect reads until every envelope of the list has come. While packets come it only counts; hashes are compared once the
// count is reached, so that the driver takes little of the machine, and reading goes on if others were among them.
func (c *client) collect(list []*common.Envelope, timeout <-chan time.Time) result {
	r := result{tally: tally{seen: map[[32]byte]int{}}}
	var bodies [][]byte
	count := 0
	check := func() int {
		for _, b := range bodies {
			r.add(b)
		}
		bodies = nil
		return len(list) - r.missing(list)
	}
	for {
		select {
		case p, open := <-c.in:
			if !open {
				check()
				return r
			}
			if p.code != codeMessages {
				continue
			}
			bodies = append(bodies, p.body)
			count += countItems(p.body)
			r.last = p.at
			if len(p.body) > r.largest {
				r.largest = len(p.body)
			}
			if count >= len(list) {
				if count = check(); count == len(list) {
					return r
				}
			}
		case <-timeout:
			check()
			return r
		}
	}
}

func (t *tally) missing(list []*common.Envelope) int {
	n := 0
	for _, e := range list {
		if t.seen[e.Hash()] == 0 {
			n++
		}
	}
	return n
}

// bundles makes Messages packets of so many envelopes each.
func bundles(list []*common.Envelope, size int) ([][]byte, error) {
	var packets [][]byte
	for i := 0; i < len(list); i += size {
		end := i + size
		if end > len(list) {
			end = len(list)
		}
		b, err := rlp.EncodeToBytes(list[i:end])
		if err != nil {
			return nil, err
		}
		packets = append(packets, b)
	}
	return packets, nil
}

const (
	prefillData   = 64   // bytes in an envelope that only fills the pool
	prefillBundle = 1000 // of them in a packet
)

// fillers are what the pool is filled with, made once.
var fillers []*common.Envelope

// prefill fills the node's pool, and waits until every receiver has been sent all of it.
func prefill(feeder *client, receivers []*client) (err error) {
	if *bPrefill == 0 {
		return nil
	}
	if len(fillers) != *bPrefill {
		if fillers, err = envelopes(*bPrefill, prefillData); err != nil {
			return err
		}
	}
	packets, err := bundles(fillers, prefillBundle)
	if err != nil {
		return err
	}
	results := make(chan result, len(receivers))
	for _, c := range receivers {
		go func(c *client) { results <- c.collect(fillers, time.After(*bTimeout)) }(c)
	}
	for _, p := range packets {
		if err := feeder.send(p); err != nil {
			return fmt.Errorf("filling the pool: %w", err)
		}
	}
	for range receivers {
		if r := <-results; r.missing(fillers) > 0 {
			return fmt.Errorf("filling the pool: %d of %d envelopes did not come out", r.missing(fillers), len(fillers))
		}
	}
	return nil
}

// relayOnce pushes all envelopes in on one connection and waits until each receiving connection has had them.
func relayOnce(r relay, list []*common.Envelope) (fields, error) {
	url, pid, stop, err := r.start()
	if err != nil {
		return nil, err
	}
	defer stop()
	feeder, err := dial(url, everything)
	if err != nil {
		return nil, err
	}
	defer feeder.close()
	go feeder.drain()
	var receivers []*client
	for i := 0; i < *bReceivers; i++ {
		c, err := dial(url, everything)
		if err != nil {
			return nil, err
		}
		defer c.close()
		receivers = append(receivers, c)
	}
	packets, err := bundles(list, *bBatch)
	if err != nil {
		return nil, err
	}
	one, err := rlp.EncodeToBytes(list[0])
	if err != nil {
		return nil, err
	}
	settled := make(chan error, len(receivers))
	for _, c := range receivers {
		go func(c *client) { settled <- c.settle() }(c)
	}
	for range receivers {
		if err := <-settled; err != nil {
			return nil, err
		}
	}

	if err := prefill(feeder, receivers); err != nil {
		return nil, err
	}
	results := make(chan result, len(receivers))
	timeout := time.Now().Add(*bTimeout)
	for _, c := range receivers {
		go func(c *client) { results <- c.collect(list, time.After(time.Until(timeout))) }(c)
	}
	rss, _ := procMemory(pid)
	cpu, own, all, start := procCPU(pid), ownCPU(), machine(), time.Now()
	for _, p := range packets {
		if err := feeder.send(p); err != nil {
			return nil, fmt.Errorf("feeding: %w", err)
		}
	}
	fed := time.Since(start).Seconds()
	var got []result
	for range receivers {
		got = append(got, <-results)
	}
	cpu, own = procCPU(pid)-cpu, ownCPU()-own
	wall := time.Since(start).Seconds()
	others := math.Max(0, (machine()-all-cpu-own)/(wall*float64(runtime.NumCPU())))
	_, peak := procMemory(pid)

	missing, duplicates, foreign, largest, seconds := 0, 0, 0, 0, 0.0
	for _, g := range got {
		missing += g.missing(list)
		duplicates += g.duplicates
		foreign += len(g.seen) - (len(list) - g.missing(list))
		if g.largest > largest {
			largest = g.largest
		}
		seconds = math.Max(seconds, g.last.Sub(start).Seconds())
	}
	rate := 0.0
	if seconds > 0 && missing == 0 {
		rate = float64(len(list)) / seconds
	}
	return fields{"n": len(list), "envelope_bytes": len(one), "receivers": len(receivers), "pool": len(fillers), "seconds": seconds,
		"env_per_s": rate, "feed_s": fed, "cpu_s": cpu, "cpu_us_per_env": 1e6 * cpu / float64(len(list)),
		"rss_before_mb": rss, "peak_rss_mb": peak, "largest_packet": largest, "missing": missing, "duplicates": duplicates, "foreign": foreign,
		"driver_cpu_s": own, "others": others}, nil
}

func benchHop() error {
	set := false
	bench.Visit(func(f *flag.Flag) { set = set || f.Name == "n" })
	if !set {
		*bCount = 40
	}
	return alternate(hopOnce, []string{"p50_ms", "p95_ms", "p99_ms", "max_ms"})
}

// hopOnce sends single envelopes at random moments and times each from the write to its arrival on the other connection.
func hopOnce(r relay, list []*common.Envelope) (fields, error) {
	url, _, stop, err := r.start()
	if err != nil {
		return nil, err
	}
	defer stop()
	feeder, err := dial(url, everything)
	if err != nil {
		return nil, err
	}
	defer feeder.close()
	go feeder.drain()
	receiver, err := dial(url, everything)
	if err != nil {
		return nil, err
	}
	defer receiver.close()
	if err := receiver.settle(); err != nil {
		return nil, err
	}
	var ms []float64
	missing := 0
	for _, e := range list {
		b, err := rlp.EncodeToBytes([]*common.Envelope{e})
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if err := feeder.send(b); err != nil {
			return nil, err
		}
		timeout := time.After(5 * time.Second)
		for arrived := false; !arrived; {
			select {
			case p, open := <-receiver.in:
				if !open {
					return nil, errors.New("the node closed the receiving connection")
				}
				t := tally{seen: map[[32]byte]int{}}
				if p.code == codeMessages {
					t.add(p.body)
				}
				if t.seen[e.Hash()] > 0 {
					ms = append(ms, 1000*p.at.Sub(start).Seconds())
					arrived = true
				}
			case <-timeout:
				missing++
				arrived = true
			}
		}
		time.Sleep(time.Duration(mrand.Int63n(int64(*bPause))))
	}
	return fields{"n": len(list), "missing": missing, "p50_ms": quantile(ms, 0.5), "p95_ms": quantile(ms, 0.95), "p99_ms": quantile(ms, 0.99),
		"max_ms": quantile(ms, 1)}, nil
}
