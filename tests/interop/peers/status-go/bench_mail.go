package main

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku"
	"github.com/status-im/status-go/waku/common"
	"go.uber.org/zap"
)

const (
	pageLimit     = 1000                   // envelopes of an answer, the most that may be asked for
	betweenAsking = 55 * time.Millisecond  // a little less than twenty requests a second
	answerTimeout = 30 * time.Second       // for a whole answer
	afterRefusal  = 100 * time.Millisecond // before a refused request is made again
)

func benchMail() error {
	return alternate(mailOnce, []string{"first_ms", "done_ms", "done_p95_ms", "wanted_per_cpu_s", "all_per_cpu_s", "all_per_s"})
}

// questions seals requests for history as status-go's client does.
type questions struct {
	key *ecdsa.PrivateKey
	sym []byte
}

func newQuestions() (*questions, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	// Password keys are status-go's own matter: an object without peers makes it.
	w := waku.New(&waku.Config{}, zap.NewNop())
	id, err := w.AddSymKeyFromPassword(*bPassword)
	if err != nil {
		return nil, err
	}
	sym, err := w.GetSymKey(id)
	return &questions{key, sym}, err
}

// seal asks for the day of the archive: for one topic, or for all.
func (q *questions) seal(topics []common.TopicType, cursor []byte) (*common.Envelope, error) {
	r := mailRequest{Lower: uint32(*bLower), Upper: uint32(*bUpper), Limit: pageLimit, Cursor: cursor, Batch: true,
		Bloom: common.MakeFullNodeBloom()}
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
	payload, err := rlp.EncodeToBytes(r)
	if err != nil {
		return nil, err
	}
	return wrap(&common.MessageParams{TTL: 50, KeySym: q.sym, Src: q.key, PoW: 0.002, WorkTime: 10, Payload: payload}, time.Now())
}

// asker is status-go's own client of mail servers, with a tap on its connection.
type asker struct {
	*questions
	w      *waku.Waku
	server *p2p.Server
	to     *enode.Node
	in     chan packet
}

// tap notes what status-go reads, when it reads it.
type tap struct {
	p2p.MsgReadWriter
	in chan packet
}

func (t *tap) ReadMsg() (p2p.Msg, error) {
	m, err := t.MsgReadWriter.ReadMsg()
	at := time.Now()
	if err != nil || m.Code < codeP2PRequestComplete {
		return m, err
	}
	b, err := body(&m)
	if err == nil {
		t.in <- packet{m.Code, b, at}
	}
	return m, err
}

func newAsker(url string) (*asker, error) {
	to, err := enode.ParseV4(url)
	if err != nil {
		return nil, err
	}
	q, err := newQuestions()
	if err != nil {
		return nil, err
	}
	a := &asker{questions: q, to: to, in: make(chan packet, 4*pageLimit)}
	a.w = waku.New(&waku.Config{MaxMessageSize: common.DefaultMaxMessageSize, LightClient: true, BloomFilterMode: true}, zap.NewNop())
	if err := a.w.Start(nil); err != nil {
		return nil, err
	}
	var protocols []p2p.Protocol
	for _, proto := range a.w.Protocols() {
		if run := proto.Run; proto.Version == *bVersion {
			proto.Run = func(peer *p2p.Peer, rw p2p.MsgReadWriter) error { return run(peer, &tap{rw, a.in}) }
			protocols = append(protocols, proto)
		}
	}
	a.server = &p2p.Server{Config: p2p.Config{PrivateKey: q.key, Name: "status-go-peer-bench", MaxPeers: 4, NoDiscovery: true,
		Logger: log.Root(), Protocols: protocols}}
	if err := a.server.Start(); err != nil {
		return nil, err
	}
	a.server.AddPeer(to)
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if a.w.AllowP2PMessagesFromPeer(to.ID().Bytes()) == nil {
			return a, nil
		}
	}
	a.close()
	return nil, errors.New("no waku session within 10 s")
}

func (a *asker) close() {
	a.server.Stop()
	_ = a.w.Stop()
}

// answer is what came of one request.
type answer struct {
	first, done time.Duration
	envelopes   int
	cursor      []byte
}

// ask times from the write of a request that is sealed already.
func (a *asker) ask(topics []common.TopicType, cursor []byte) (answer, error) {
	e, err := a.seal(topics, cursor)
	if err != nil {
		return answer{}, err
	}
	start := time.Now()
	if err := a.w.RequestHistoricMessages(a.to.ID().Bytes(), e); err != nil {
		return answer{}, err
	}
	return readAnswer(a.in, start)
}

// errRefused is the server's no.
type errRefused struct{ error }

// readAnswer reads packets up to the end of an answer.
func readAnswer(in <-chan packet, start time.Time) (got answer, err error) {
	timeout := time.After(answerTimeout)
	for {
		select {
		case p, open := <-in:
			switch {
			case !open:
				return got, io.ErrUnexpectedEOF
			case p.code == codeP2PMessages:
				if got.envelopes == 0 {
					got.first = p.at.Sub(start)
				}
				got.envelopes += countItems(p.body)
			case p.code == codeP2PRequestComplete:
				got.done = p.at.Sub(start)
				got.cursor, err = readEnd(p.body)
				return got, err
			}
		case <-timeout:
			return got, errors.New("an answer has no end")
		}
	}
}

// readEnd lets status-go's own code read a completion.
func readEnd(b []byte) ([]byte, error) {
	var payload []byte
	if err := rlp.DecodeBytes(b, &payload); err != nil {
		return nil, err
	}
	event, err := waku.CreateMailServerEvent(enode.ID{}, payload)
	if err != nil {
		return nil, err
	}
	response, ok := event.Data.(*waku.MailServerResponse)
	if !ok {
		return nil, errors.New("status-go cannot read a completion")
	}
	if response.Error != nil {
		return nil, errRefused{response.Error}
	}
	return response.Cursor, nil
}

// mailOnce asks a server for one topic of its archive so many times, then pages through all of it.
func mailOnce(r relay, list []*common.Envelope) (fields, error) {
	url, pid, stop, err := r.start()
	if err != nil {
		return nil, err
	}
	defer stop()
	a, err := newAsker(url)
	if err != nil {
		return nil, err
	}
	defer a.close()
	topics := []common.TopicType{wantedTopic}
	if _, err := a.ask(topics, nil); err != nil { // it has read nothing yet
		return nil, err
	}
	var first, done []float64
	cpu, missing := procCPU(pid), 0
	for range list {
		time.Sleep(betweenAsking)
		got, err := a.ask(topics, nil)
		if err != nil {
			return nil, err
		}
		first, done = append(first, 1000*got.first.Seconds()), append(done, 1000*got.done.Seconds())
		missing += *bWanted - got.envelopes
	}
	wantedCPU := procCPU(pid) - cpu

	cpu = procCPU(pid)
	all, seconds, err := a.page()
	if err != nil {
		return nil, err
	}
	cpu = procCPU(pid) - cpu
	_, peak := procMemory(pid)
	return fields{"missing": missing, "all": all, "peak_rss_mb": peak,
		"first_ms": quantile(first, 0.5), "done_ms": quantile(done, 0.5), "done_p95_ms": quantile(done, 0.95), "done_max_ms": quantile(done, 1),
		"wanted_per_cpu_s": float64(*bWanted*len(list)) / wantedCPU, "all_per_cpu_s": float64(all) / cpu, "all_per_s": float64(all) / seconds}, nil
}

// page asks for everything, page by page: how many envelopes came, and in how many seconds without the pauses.
func (a *asker) page() (int, float64, error) {
	all, seconds := 0, 0.0
	for cursor := []byte(nil); ; time.Sleep(betweenAsking) {
		got, err := a.ask(nil, cursor)
		if err != nil {
			return all, seconds, fmt.Errorf("page after %d envelopes: %w", all, err)
		}
		all, seconds, cursor = all+got.envelopes, seconds+got.done.Seconds(), got.cursor
		if len(cursor) == 0 || (*bPages > 0 && all >= *bPages*pageLimit) {
			return all, seconds, nil
		}
	}
}
