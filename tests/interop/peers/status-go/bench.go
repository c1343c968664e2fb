package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/status-go/waku/common"
)

var (
	bench        = flag.NewFlagSet("bench", flag.ExitOnError)
	bCount       = bench.Int("n", 20000, "envelopes a run (relay, clients) or in all (archive), trials (hop), requests (mail)")
	bPayload     = bench.Int("payload", 256, "payload bytes before padding and encryption")
	bBatch       = bench.Int("batch", 100, "envelopes in a Messages packet (relay)")
	bPow         = bench.Float64("pow", 0.001, "proof of work of the envelopes")
	bTTL         = bench.Uint("ttl", 120, "time to live of the envelopes, seconds")
	bRuns        = bench.Int("runs", 3, "runs")
	bReceivers   = bench.Int("receivers", 1, "receiving connections (relay)")
	bData        = bench.Int("data", 0, "bytes of sealed data, which are random then; 0 seals -payload instead")
	bPrefill     = bench.Int("prefill", 0, "small envelopes that are in the node's pool before the measured ones come (relay)")
	bClients     = bench.Int("clients", 1000, "connections of light clients that want nothing (clients), or that ask for history (storm)")
	bVersion     = bench.Uint("version", 0, "waku version to speak: 0 or 1")
	bTimeout     = bench.Duration("timeout", 60*time.Second, "longest a run may take")
	bSeconds     = bench.Float64("secs", 2, "seconds of one timed loop (validate, pow, open)")
	bPause       = bench.Duration("pause", 300*time.Millisecond, "longest pause between two trials (hop)")
	bDir         = bench.String("dir", "", "directory of a mail server's archive (archive)")
	bWanted      = bench.Int("wanted", 1000, "envelopes on the topic that is asked for (archive, mail)")
	bLower       = bench.Uint("lower", 0, "begin of the times that are asked for, unix seconds (mail, storm)")
	bUpper       = bench.Uint("upper", 0, "their end (mail, storm)")
	bPages       = bench.Int("pages", 0, "pages of the archive that are read, of a thousand envelopes; 0 is all (mail)")
	bPassword    = bench.String("password", "status-offline-inbox", "the mail servers' password (mail, storm)")
	bSpawn       listFlag
	bTarget      listFlag
	bPid         listFlag
	enodePattern = regexp.MustCompile(`enode://[0-9a-fA-F]{128}@[^\s"',\]]+`)
)

func benchMain(args []string) int {
	bench.Var(&bSpawn, "spawn", "NAME=COMMAND: start this node for each run; it must print its enode on standard output or error (may be repeated)")
	bench.Var(&bTarget, "target", "NAME=ENODE: measure this running node (may be repeated)")
	bench.Var(&bPid, "pid", "NAME=PID: process of a -target, for CPU and memory (may be repeated)")
	modes := map[string]func() error{"relay": benchRelay, "clients": benchClients, "hop": benchHop, "validate": benchValidate, "pow": benchPow, "open": benchOpen,
		"archive": benchArchive, "mail": benchMail, "storm": benchStorm}
	if len(args) == 0 || modes[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: status-go-peer bench relay|clients|hop|validate|pow|open|archive|mail|storm [flags]; -h lists the flags")
		return 2
	}
	log.Root().SetHandler(log.DiscardHandler())
	if err := bench.Parse(args[1:]); err != nil {
		return 2
	}
	if err := modes[args[0]](); err != nil {
		emit("error", fields{"error": err.Error()})
		return 1
	}
	return 0
}

// relay is a node under test: either running already, or started for each run.
type relay struct {
	name, command, enode string
	pid                  int
}

// relays reads -spawn, -target and -pid.
func relays() ([]relay, error) {
	var list []relay
	split := func(s string) (string, string, error) {
		i := strings.IndexByte(s, '=')
		if i <= 0 {
			return "", "", fmt.Errorf("%q: want NAME=VALUE", s)
		}
		return s[:i], s[i+1:], nil
	}
	pids := map[string]int{}
	for _, s := range bPid {
		name, value, err := split(s)
		if err != nil {
			return nil, err
		}
		if pids[name], err = strconv.Atoi(value); err != nil {
			return nil, err
		}
	}
	for _, s := range bSpawn {
		name, value, err := split(s)
		if err != nil {
			return nil, err
		}
		list = append(list, relay{name: name, command: value})
	}
	for _, s := range bTarget {
		name, value, err := split(s)
		if err != nil {
			return nil, err
		}
		list = append(list, relay{name: name, enode: value, pid: pids[name]})
	}
	if len(list) == 0 {
		return nil, errors.New("name a node with -spawn or -target")
	}
	return list, nil
}

// start returns the node's enode and process, and how to end it.
func (r relay) start() (url string, pid int, stop func(), err error) {
	if r.command == "" {
		if r.pid > 0 { // forget the peak of earlier runs
			_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", r.pid), []byte("5"), 0)
		}
		return r.enode, r.pid, func() {}, nil
	}
	words := strings.Fields(r.command)
	c := exec.Command(words[0], words[1:]...)
	stdin, err := c.StdinPipe() // left open: some nodes end with their input
	if err != nil {
		return "", 0, nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return "", 0, nil, err
	}
	logs, err := c.StderrPipe()
	if err != nil {
		return "", 0, nil, err
	}
	if err := c.Start(); err != nil {
		return "", 0, nil, err
	}
	stop = func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		late.Stop()
		_ = stdin.Close()
	}
	found := make(chan string, 1)
	watch := func(r io.Reader, echo bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 1<<16), 16<<20)
		for lines.Scan() {
			if echo {
				fmt.Fprintln(os.Stderr, lines.Text())
			}
			if u := enodePattern.FindString(lines.Text()); u != "" {
				select {
				case found <- u:
				default:
				}
			}
		}
	}
	go watch(out, false)
	go watch(logs, true)
	select {
	case url = <-found:
		return url, c.Process.Pid, stop, nil
	case <-time.After(15 * time.Second):
		stop()
		return "", 0, nil, fmt.Errorf("%s printed no enode", r.name)
	}
}

// envelopes makes n of them, on random topics, with one random key. With data they hold so many random bytes instead of a sealed payload.
func envelopes(n, data int) ([]*common.Envelope, error) {
	key := make([]byte, common.AESKeyLength)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	list := make([]*common.Envelope, n)
	errs := make(chan error, runtime.NumCPU())
	for w := 0; w < runtime.NumCPU(); w++ {
		go func(w int) {
			for i := w; i < n; i += runtime.NumCPU() {
				payload := make([]byte, *bPayload)
				if data > 0 {
					payload = make([]byte, data)
				}
				_, _ = rand.Read(payload)
				var t common.TopicType
				binary.BigEndian.PutUint32(t[:], mrand.Uint32())
				p := &common.MessageParams{TTL: uint32(*bTTL), KeySym: key, Topic: t, PoW: *bPow, WorkTime: 30, Payload: payload}
				var e *common.Envelope
				var err error
				if data > 0 {
					e, err = enclose(p)
				} else {
					e, err = wrap(p, time.Now())
				}
				if err != nil {
					errs <- err
					return
				}
				list[i] = e
			}
			errs <- nil
		}(w)
	}
	var first error
	for w := 0; w < runtime.NumCPU(); w++ {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return list, first
}

// tally counts envelopes by hash, reading packet bodies as received.
type tally struct {
	seen       map[[32]byte]int
	duplicates int
}

func (t *tally) add(b []byte) {
	rest, _, err := rlp.SplitList(b)
	for err == nil && len(rest) > 0 {
		var after []byte
		if _, _, after, err = rlp.Split(rest); err != nil {
			return
		}
		h := crypto.Keccak256Hash(rest[:len(rest)-len(after)])
		t.seen[h]++
		if t.seen[h] > 1 {
			t.duplicates++
		}
		rest = after
	}
}

func countItems(b []byte) int {
	content, _, err := rlp.SplitList(b)
	if err != nil {
		return 0
	}
	n, err := rlp.CountValues(content)
	if err != nil {
		return 0
	}
	return n
}

// machine reads the busy CPU seconds of all processes since the machine started.
func machine() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	busy := 0.0
	for i, w := range strings.Fields(strings.SplitN(string(b), "\n", 2)[0])[1:] {
		if v, _ := strconv.ParseFloat(w, 64); i < 8 && i != 3 && i != 4 {
			busy += v / 100
		}
	}
	return busy
}

// alternate measures every node once a run, in turns, so that all of them meet the same machine; then prints medians.
func alternate(once func(r relay, list []*common.Envelope) (fields, error), key []string) error {
	nodes, err := relays()
	if err != nil {
		return err
	}
	rows := map[string][]fields{}
	failed := false
	for run := 1; run <= *bRuns; run++ {
		list, err := envelopes(*bCount, *bData)
		if err != nil {
			return err
		}
		runtime.GC()
		for i := range nodes {
			r := nodes[i]
			if run%2 == 0 {
				r = nodes[len(nodes)-1-i]
			}
			f, err := once(r, list)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			failed = failed || f["missing"] != 0
			rows[r.name] = append(rows[r.name], f)
			line := fields{"node": r.name, "run": run}
			for k, v := range f {
				line[k] = v
			}
			emit("run", line)
		}
	}
	for _, r := range nodes {
		line := fields{"node": r.name, "runs": *bRuns}
		for _, k := range key {
			var x []float64
			for _, f := range rows[r.name] {
				x = append(x, f[k].(float64))
			}
			line[k] = quantile(x, 0.5)
		}
		emit("median", line)
	}
	if failed {
		return errors.New("envelopes were lost: these figures mean nothing")
	}
	return nil
}

func quantile(x []float64, q float64) float64 {
	y := append([]float64{}, x...)
	sort.Float64s(y)
	if len(y) == 0 {
		return 0
	}
	at := q * float64(len(y)-1)
	low := int(at)
	if low == len(y)-1 {
		return y[low]
	}
	return y[low] + (at-float64(low))*(y[low+1]-y[low])
}
