package main

import (
	"bufio"
	"errors"
	"flag"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/mailserver"
	"github.com/status-im/status-go/params"
	"github.com/status-im/status-go/whisper/v6"
)

// Codes of packets between mail servers; status-go keeps its own constants private.
const (
	codeSyncRequest  = 123
	codeSyncResponse = 124
)

const sessionTimeout = 30 * time.Second

var (
	whisperMode   = flag.NewFlagSet("whisper", flag.ExitOnError)
	wListen       = whisperMode.String("listen", "127.0.0.1:0", "TCP address to listen on, on loopback")
	wDir          = whisperMode.String("dir", "", "archive in this directory (LevelDB)")
	wName         = whisperMode.String("name", "status-go-whisper", "client name in the devp2p Hello")
	errNoSession  = errors.New("no session with that peer")
	errNoCommand  = errors.New("unknown command")
	errSyncInputs = errors.New("usage: sync ENODE LOWER UPPER LIMIT CURSORHEX|none")
)

// shh is status-go's mail server of Whisper. Its bloom filter is empty, so that nothing comes to it but by synchronisation.
type shh struct {
	w      *whisper.Whisper
	mail   *mailserver.WhisperMailServer
	server *p2p.Server
}

func whisperMain(args []string) {
	fatal(whisperMode.Parse(args))
	log.Root().SetHandler(log.DiscardHandler())
	s, err := startWhisper()
	fatal(err)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<16), 1<<20)
	for in.Scan() {
		if w := strings.Fields(in.Text()); len(w) > 0 && w[0] != "quit" {
			if err := s.command(w[0], w[1:]); err != nil {
				emit("error", fields{"cmd": w[0], "error": err.Error()})
			}
			continue
		}
		break
	}
	s.server.Stop()
	s.mail.Close()
	emit("bye", nil)
}

func startWhisper() (*shh, error) {
	key, err := nodeKey("")
	if err != nil {
		return nil, err
	}
	s := &shh{w: whisper.New(&whisper.Config{MaxMessageSize: whisper.DefaultMaxMessageSize, MinimumAcceptedPOW: 0})}
	if err := s.w.SetBloomFilter(make([]byte, whisper.BloomFilterSize)); err != nil {
		return nil, err
	}
	s.mail = &mailserver.WhisperMailServer{}
	if err := s.mail.Init(s.w, &params.WhisperConfig{DataDir: *wDir, MailServerPassword: "status-offline-inbox"}); err != nil {
		return nil, err
	}
	s.w.RegisterMailServer(s.mail)
	events := make(chan whisper.EnvelopeEvent, 1<<12)
	s.w.SubscribeEnvelopeEvents(events)
	go finished(events)
	if err := s.w.Start(nil); err != nil {
		return nil, err
	}
	loopback, err := netutil.ParseNetlist("127.0.0.0/8,::1/128")
	if err != nil {
		return nil, err
	}
	s.server = &p2p.Server{Config: p2p.Config{PrivateKey: key, Name: *wName, ListenAddr: *wListen, NetRestrict: loopback, MaxPeers: 8,
		MaxPendingPeers: 8, NoDiscovery: true, Logger: log.Root()}}
	for _, proto := range s.w.Protocols() {
		run := proto.Run
		proto.Run = func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
			f := peerFields(peer)
			emit("peer-added", f)
			return run(peer, &syncTap{rw})
		}
		s.server.Protocols = append(s.server.Protocols, proto)
	}
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	address, err := net.ResolveTCPAddr("tcp", s.server.ListenAddr)
	if err != nil {
		return nil, err
	}
	self := enode.NewV4(&key.PublicKey, address.IP, address.Port, 0)
	emit("ready", fields{"enode": self.URLv4(), "id": self.ID().String(), "pid": os.Getpid()})
	return s, nil
}

// finished reports what status-go makes of the end of a synchronisation.
func finished(events <-chan whisper.EnvelopeEvent) {
	for e := range events {
		if r, ok := e.Data.(whisper.SyncEventResponse); ok && e.Event == whisper.EventMailServerSyncFinished {
			emit("sync-finished", fields{"cursor": toHex(r.Cursor), "error": r.Error})
		}
	}
}

func (s *shh) command(name string, a []string) error {
	switch name {
	case "addpeer":
		if len(a) != 1 {
			return errNoCommand
		}
		node, err := enode.ParseV4(a[0])
		if err == nil {
			s.server.AddPeer(node)
			emit("ok", nil)
		}
		return err
	case "sync":
		return s.sync(a)
	}
	return errNoCommand
}

// sync asks a mail server for what it has, and trusts its answer.
func (s *shh) sync(a []string) error {
	if len(a) != 5 {
		return errSyncInputs
	}
	node, err := enode.ParseV4(a[0])
	if err != nil {
		return err
	}
	var numbers [3]uint32
	for i, text := range a[1:4] {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return err
		}
		numbers[i] = uint32(n)
	}
	r := whisper.SyncMailRequest{Lower: numbers[0], Upper: numbers[1], Limit: numbers[2], Bloom: whisper.MakeFullNodeBloom()}
	if a[4] != "none" {
		if r.Cursor, err = fromHex(a[4]); err != nil {
			return err
		}
	}
	for limit := time.Now().Add(sessionTimeout); s.w.AllowP2PMessagesFromPeer(node.ID().Bytes()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			return errNoSession
		}
	}
	if err := s.w.SyncMessages(node.ID().Bytes(), r); err != nil {
		return err
	}
	emit("sync-asked", nil)
	return nil
}

// syncTap reports what passes between mail servers before status-go judges it.
type syncTap struct{ p2p.MsgReadWriter }

func (t *syncTap) ReadMsg() (p2p.Msg, error) {
	m, err := t.MsgReadWriter.ReadMsg()
	if err != nil || (m.Code != codeSyncRequest && m.Code != codeSyncResponse) {
		return m, err
	}
	b, err := body(&m)
	if err != nil {
		return m, err
	}
	if m.Code == codeSyncRequest {
		emit("sync-requested", fields{"size": len(b)})
		return m, nil
	}
	var r whisper.SyncResponse
	if err := rlp.DecodeBytes(b, &r); err != nil {
		emit("bad-packet", fields{"code": m.Code, "size": len(b), "error": err.Error()})
		return m, nil
	}
	hashes := []string{}
	for _, e := range r.Envelopes {
		hashes = append(hashes, e.Hash().Hex())
	}
	emit("sync-arrived", fields{"hashes": strings.Join(hashes, ","), "final": r.Final, "cursor": toHex(r.Cursor), "error": r.Error})
	return m, nil
}
