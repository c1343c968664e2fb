package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
)

// storm is many clients that page through an archive at once, each from an address of its own.
type storm struct {
	*questions
	url                        string
	pages, envelopes, refusals int64
	days                       int64
	over                       chan struct{}
}

// benchStorm pages until there is a line of input, or its end; each client a day after the other.
func benchStorm() error {
	nodes, err := relays()
	if err != nil {
		return err
	}
	q, err := newQuestions()
	if err != nil {
		return err
	}
	s := &storm{questions: q, url: nodes[0].enode, over: make(chan struct{})}
	var clients []*client
	for i := 0; i < *bClients; i++ {
		c, err := dial(s.url, manner{light: true, room: 4, from: net.IPv4(127, 0, 0, byte(2+i))})
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, c)
	}
	errs := make(chan error, len(clients))
	var all sync.WaitGroup
	for _, c := range clients {
		all.Add(1)
		go func(c *client) {
			defer all.Done()
			errs <- s.rage(c)
		}(c)
	}
	start := time.Now()
	emit("raging", nil)
	bufio.NewScanner(os.Stdin).Scan()
	close(s.over)
	all.Wait()
	seconds := time.Since(start).Seconds()
	for range clients {
		if err := <-errs; err != nil {
			return err
		}
	}
	emit("raged", fields{"clients": len(clients), "days": s.days, "pages": s.pages, "envelopes": s.envelopes, "refusals": s.refusals, "seconds": seconds})
	return nil
}

// rage pages through a day, and another, until the storm is over.
func (s *storm) rage(c *client) error {
	defer c.close()
	cursor := []byte(nil)
	for {
		select {
		case <-s.over:
			return nil
		default:
		}
		e, err := s.seal(nil, cursor)
		if err != nil {
			return err
		}
		if err := p2p.Send(c.rw, codeP2PRequest, e); err != nil {
			return err
		}
		got, err := readAnswer(c.in, time.Now())
		if errors.As(err, &errRefused{}) {
			atomic.AddInt64(&s.refusals, 1)
			time.Sleep(afterRefusal)
			continue
		}
		if err != nil {
			return fmt.Errorf("on page %d: %w", atomic.LoadInt64(&s.pages), err)
		}
		atomic.AddInt64(&s.pages, 1)
		atomic.AddInt64(&s.envelopes, int64(got.envelopes))
		if cursor = got.cursor; len(cursor) == 0 {
			atomic.AddInt64(&s.days, 1)
		}
	}
}
