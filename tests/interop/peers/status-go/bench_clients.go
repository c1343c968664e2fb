package main

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/status-im/status-go/waku/common"
)

const (
	dialsAtOnce     = 16 // fewer than any node lets wait for its handshake
	clientAddresses = 20 // of 127.0.0.0/8 that the clients dial from
)

func benchClients() error {
	return alternate(clientsOnce, []string{"rss_before_mb", "rss_mb", "kb_per_client", "connect_s", "connect_cpu_s", "cpu_us_per_env"})
}

// crowd is many idle connections; it counts what they should not get, and who is lost.
type crowd struct {
	clients  []*client
	unwanted int64
	lost     int64
}

// gather connects n light clients.
func gather(url string, n int) (*crowd, error) {
	c := &crowd{clients: make([]*client, n)}
	errs := make(chan error, dialsAtOnce)
	for w := 0; w < dialsAtOnce; w++ {
		go func(w int) {
			for i := w; i < n; i += dialsAtOnce {
				one, err := dial(url, manner{light: true, room: 4, from: net.IPv4(127, 0, 0, byte(2+i%clientAddresses))})
				if err != nil {
					errs <- fmt.Errorf("client %d: %w", i, err)
					return
				}
				c.clients[i] = one
				go c.watch(one)
			}
			errs <- nil
		}(w)
	}
	var first error
	for w := 0; w < dialsAtOnce; w++ {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return c, first
}

func (c *crowd) watch(one *client) {
	for p := range one.in {
		if p.code == codeMessages {
			atomic.AddInt64(&c.unwanted, int64(countItems(p.body)))
		}
	}
	atomic.AddInt64(&c.lost, 1)
}

func (c *crowd) close() {
	for _, one := range c.clients {
		if one != nil {
			one.close()
		}
	}
}

// clientsOnce connects light clients that want nothing, then relays envelopes past them.
func clientsOnce(r relay, list []*common.Envelope) (fields, error) {
	url, pid, stop, err := r.start()
	if err != nil {
		return nil, err
	}
	defer stop()
	before, _ := procMemory(pid)
	cpu, start := procCPU(pid), time.Now()
	c, err := gather(url, *bClients)
	defer c.close()
	if err != nil {
		return nil, err
	}
	connectCPU, connect := procCPU(pid)-cpu, time.Since(start).Seconds()
	connected, _ := procMemory(pid)

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
	packets, err := bundles(list, *bBatch)
	if err != nil {
		return nil, err
	}
	got := make(chan result, 1)
	cpu = procCPU(pid)
	go func() { got <- receiver.collect(list, time.After(*bTimeout)) }()
	for _, p := range packets {
		if err := feeder.send(p); err != nil {
			return nil, fmt.Errorf("feeding: %w", err)
		}
	}
	end := <-got
	cpu = procCPU(pid) - cpu
	rss, peak := procMemory(pid)
	if lost := atomic.LoadInt64(&c.lost); lost > 0 {
		return nil, fmt.Errorf("%d of %d clients lost their connection", lost, *bClients)
	}
	if atomic.LoadInt64(&c.unwanted) > 0 {
		return nil, errors.New("clients that want nothing were sent envelopes")
	}
	return fields{"clients": *bClients, "n": len(list), "missing": end.missing(list), "duplicates": end.duplicates,
		"rss_before_mb": before, "rss_mb": rss, "peak_rss_mb": peak, "kb_per_client": 1024 * (connected - before) / float64(*bClients),
		"connect_s": connect, "connect_cpu_s": connectCPU, "cpu_us_per_env": 1e6 * cpu / float64(len(list))}, nil
}
