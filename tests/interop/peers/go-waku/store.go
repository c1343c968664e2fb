// Store 2.0.0-beta4: serving it out of SQLite, and asking for pages.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/waku-org/go-waku/waku/persistence"
	"github.com/waku-org/go-waku/waku/persistence/sqlite"
	"github.com/waku-org/go-waku/waku/v2/node"
	wakuproto "github.com/waku-org/go-waku/waku/v2/protocol"
	"github.com/waku-org/go-waku/waku/v2/protocol/pb"
	"github.com/waku-org/go-waku/waku/v2/protocol/store"
	storepb "github.com/waku-org/go-waku/waku/v2/protocol/store/pb"
)

var fStore = flag.String("store", "", "serve store 2.0.0-beta4 from SQLite at `PATH` (:memory: works)")

const storeFillUsage = "PUBSUBTOPIC COUNT TOPICS BYTES FROMNS STEPNS"

const storeUsage = "MULTIADDR [topic=PUBSUBTOPIC] [ct=A,B] [from=NS] [to=NS] [limit=N] [dir=forward|backward] [cursor=BASE64] [all]"

func storeOptions(log *zap.Logger) []node.WakuNodeOption {
	if *fStore == "" {
		return nil
	}
	s, err := openStore(*fStore, log)
	must(err)
	kept = s
	return []node.WakuNodeOption{node.WithWakuStore(), node.WithMessageProvider(s)}
}

// kept is what is served.
var kept *persistence.DBStore

// cmdStoreFill keeps messages as go-waku keeps what was relayed: the content topics in turns, each STEP after the one before.
func (a *app) cmdStoreFill(c *call) (M, error) {
	if kept == nil {
		return nil, errors.New("not without -store")
	}
	var n [5]int64
	for i := range n {
		v, err := strconv.ParseInt(c.args[i+1], 10, 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%s is no number", c.args[i+1])
		}
		n[i] = v
	}
	count, topics, size, from, step := n[0], n[1], n[2], n[3], n[4]
	if topics < 1 || size < 8 {
		return nil, errors.New("TOPICS are 1 or more, BYTES 8 or more")
	}
	for i := int64(0); i < count; i++ {
		sent, version, payload := from+i*step, uint32(0), make([]byte, size)
		binary.BigEndian.PutUint64(payload, uint64(i))
		m := &pb.WakuMessage{Payload: payload, ContentTopic: fmt.Sprintf("/bench/1/%d/proto", i%topics), Version: &version, Timestamp: &sent}
		if err := kept.Put(wakuproto.NewEnvelope(m, sent, c.args[0])); err != nil {
			return nil, err
		}
	}
	return M{"count": count}, nil
}

// openStore opens go-waku's own SQLite message store, with its own migrations.
func openStore(path string, log *zap.Logger) (*persistence.DBStore, error) {
	if path != ":memory:" {
		p, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		path = p
	}
	db, err := sqlite.NewDB(path, log)
	if err != nil {
		return nil, err
	}
	return persistence.NewDBStore(prometheus.NewRegistry(), log, persistence.WithDB(db), persistence.WithMigrations(sqlite.Migrations))
}

// cmdStore asks for one page, or with `all` for all that follow.
func (a *app) cmdStore(c *call) (M, error) {
	q, o, err := storeQuery(c)
	if err != nil {
		return nil, err
	}
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	r, err := a.n.Store().Query(c.ctx, q, append(o, store.WithPeer(p))...)
	if err != nil {
		return nil, err
	}
	messages, sizes := []M{}, []int{}
	for {
		sizes = append(sizes, len(r.Messages))
		for _, m := range r.Messages {
			messages = append(messages, messageM(q.PubsubTopic, m))
		}
		if c.opt["all"] == "" || r.IsComplete() {
			break
		}
		if r, err = a.n.Store().Next(c.ctx, r); err != nil {
			return nil, err
		}
	}
	m := M{"messages": messages, "pages": sizes, "complete": r.IsComplete()}
	if i := r.Cursor(); i != nil {
		b, err := proto.Marshal(i)
		if err != nil {
			return nil, err
		}
		m["cursor"] = base64.StdEncoding.EncodeToString(b)
	}
	return m, nil
}

func storeQuery(c *call) (store.Query, []store.HistoryRequestOption, error) {
	q := store.Query{PubsubTopic: c.opt["topic"]}
	if s := c.opt["ct"]; s != "" {
		q.ContentTopics = strings.Split(s, ",")
	}
	for k, to := range map[string]**int64{"from": &q.StartTime, "to": &q.EndTime} {
		if s, ok := c.opt[k]; ok {
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return q, nil, fmt.Errorf("%s: %w", k, err)
			}
			*to = &v
		}
	}
	limit := uint64(store.MaxPageSize)
	if s, ok := c.opt["limit"]; ok {
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return q, nil, fmt.Errorf("limit: %w", err)
		}
		limit = v
	}
	forward := c.opt["dir"] != "backward"
	if d := c.opt["dir"]; d != "" && d != "forward" && d != "backward" {
		return q, nil, errors.New("dir: forward or backward")
	}
	o := []store.HistoryRequestOption{store.WithPaging(forward, limit)}
	if s := c.opt["cursor"]; s != "" {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return q, nil, fmt.Errorf("cursor: %w", err)
		}
		var i storepb.Index
		if err := proto.Unmarshal(b, &i); err != nil {
			return q, nil, fmt.Errorf("cursor: %w", err)
		}
		o = append(o, store.WithCursor(&i))
	}
	return q, o, nil
}
