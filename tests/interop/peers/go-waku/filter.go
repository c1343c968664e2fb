package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/waku-org/go-waku/waku/v2/node"
	"github.com/waku-org/go-waku/waku/v2/protocol"
	"github.com/waku-org/go-waku/waku/v2/protocol/filter"
	"github.com/waku-org/go-waku/waku/v2/protocol/legacy_filter"
)

var (
	fFilter = flag.Bool("filter", false, "serve filter v2")
	fLegacy = flag.String("legacy-filter", "off", "the filter of 2.0.0-beta1: `off, client or full`")
)

func init() {
	commands["filter-sub"] = command{3, true, "MULTIADDR PUBSUBTOPIC CONTENTTOPIC...", (*app).cmdFilterSub}
	commands["filter-unsub"] = command{3, true, "MULTIADDR PUBSUBTOPIC CONTENTTOPIC...", (*app).cmdFilterUnsub}
	commands["filter-unsub-all"] = command{1, true, "MULTIADDR", (*app).cmdFilterUnsubAll}
	commands["filter-ping"] = command{1, true, "MULTIADDR", (*app).cmdFilterPing}
	commands["legacy-filter-sub"] = command{3, true, "MULTIADDR PUBSUBTOPIC CONTENTTOPIC...", (*app).cmdLegacySub}
	commands["legacy-filter-unsub"] = command{3, true, "MULTIADDR PUBSUBTOPIC CONTENTTOPIC...", (*app).cmdLegacyUnsub}
}

// filterOptions are go-waku's options for -filter and -legacy-filter. Its client of filter v2 is always there.
func filterOptions() []node.WakuNodeOption {
	o := []node.WakuNodeOption{node.WithWakuFilterLightNode()}
	if *fFilter {
		o = append(o, node.WithWakuFilterFullNode())
	}
	switch *fLegacy {
	case "off":
	case "client", "full":
		o = append(o, node.WithLegacyWakuFilter(*fLegacy == "full"))
	default:
		fatal(fmt.Errorf("-legacy-filter %s: off, client or full", *fLegacy))
	}
	return o
}

// pushed prints what a filter node pushes; `from` is that node.
func (a *app) pushed(via, from string, ch <-chan *protocol.Envelope) {
	for e := range ch {
		m := messageM(e.PubsubTopic(), e.Message())
		m["via"], m["from"] = via, from
		emit("message", m)
	}
}

func (a *app) cmdFilterSub(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	subs, err := a.n.FilterLightnode().Subscribe(c.ctx, protocol.NewContentFilter(c.args[1], c.args[2:]...), filter.WithPeer(p))
	if err != nil {
		return nil, err
	}
	for _, s := range subs {
		go a.pushed("filter", p.String(), s.C)
	}
	return M{"peer": p.String()}, nil
}

// unsubscribed turns go-waku's results by peer into one answer.
func unsubscribed(r *filter.WakuFilterPushResult, err error) (M, error) {
	if err != nil {
		return nil, err
	}
	n := 0
	for _, e := range r.Errors() {
		if e.Err != nil {
			return nil, e.Err
		}
		n++
	}
	return M{"requests": n}, nil
}

func (a *app) cmdFilterUnsub(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	return unsubscribed(a.n.FilterLightnode().Unsubscribe(c.ctx, protocol.NewContentFilter(c.args[1], c.args[2:]...), filter.WithPeer(p)))
}

func (a *app) cmdFilterUnsubAll(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	return unsubscribed(a.n.FilterLightnode().UnsubscribeAll(c.ctx, filter.WithPeer(p)))
}

// cmdFilterPing tells the status also where it is a refusal.
func (a *app) cmdFilterPing(c *call) (M, error) {
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	err = a.n.FilterLightnode().Ping(c.ctx, p)
	var refused *filter.FilterError
	if errors.As(err, &refused) {
		return M{"status": refused.Code, "desc": refused.Message}, nil
	}
	return M{"status": 200}, err
}

func (a *app) cmdLegacySub(c *call) (M, error) {
	if *fLegacy == "off" {
		return nil, errors.New("start the peer with -legacy-filter")
	}
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	_, f, err := a.n.LegacyFilter().Subscribe(c.ctx, legacy_filter.ContentFilter{Topic: c.args[1], ContentTopics: c.args[2:]}, legacy_filter.WithPeer(p))
	if err != nil {
		return nil, err
	}
	go a.pushed("legacy-filter", p.String(), f.Chan)
	return M{"peer": p.String()}, nil
}

func (a *app) cmdLegacyUnsub(c *call) (M, error) {
	if *fLegacy == "off" {
		return nil, errors.New("start the peer with -legacy-filter")
	}
	if _, err := a.reach(c); err != nil {
		return nil, err
	}
	return nil, a.n.LegacyFilter().UnsubscribeFilter(c.ctx, legacy_filter.ContentFilter{Topic: c.args[1], ContentTopics: c.args[2:]})
}
