package main

import (
	"flag"

	"github.com/waku-org/go-waku/waku/v2/node"
	"github.com/waku-org/go-waku/waku/v2/protocol/lightpush"
)

var fLightpush = flag.Bool("lightpush", false, "publish for light clients: lightpush 2.0.0-beta1, the only version of this go-waku")

func init() {
	commands["lightpush"] = command{4, true, "MULTIADDR PUBSUBTOPIC CONTENTTOPIC HEXPAYLOAD [as pub]", (*app).cmdLightpush}
}

// lightpushOptions are go-waku's options for -lightpush.
func lightpushOptions() []node.WakuNodeOption {
	if *fLightpush {
		return []node.WakuNodeOption{node.WithLightPush()}
	}
	return nil
}

// cmdLightpush has a message published by another node.
func (a *app) cmdLightpush(c *call) (M, error) {
	m, err := c.message(c.args[2], c.args[3])
	if err != nil {
		return nil, err
	}
	p, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	h, err := a.n.Lightpush().Publish(c.ctx, m, lightpush.WithPeer(p), lightpush.WithPubSubTopic(c.args[1]))
	if err != nil {
		return nil, err
	}
	r := messageM(c.args[1], m)
	delete(r, "payload")
	r["hash_v090"] = hx(h)
	return r, nil
}
