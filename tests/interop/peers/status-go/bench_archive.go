package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	gethbridge "github.com/status-im/status-go/eth-node/bridge/geth"
	"github.com/status-im/status-go/mailserver"
	"github.com/status-im/status-go/waku/common"
)

const (
	archivedSpan = 24 * time.Hour // over which archived envelopes are spread
	archivedTTL  = 15             // their time to live, what Status's applications used
	archivedData = 542            // bytes of data in each: 562 with all else
	otherTopics  = 99             // topics of those that nobody asks for
)

// wantedTopic is the topic that is asked for.
var wantedTopic = common.TopicType{0xd2, 0, 0, 1}

// benchArchive fills a mail server's archive through status-go's own code: so many envelopes evenly over a day, so many of them on one topic.
func benchArchive() error {
	if *bDir == "" || *bWanted < 1 || *bCount < *bWanted {
		return errors.New("want -dir, and fewer -wanted than -n")
	}
	db, err := mailserver.NewLevelDB(*bDir)
	if err != nil {
		return err
	}
	end := time.Now().Add(-time.Minute)
	every := *bCount / *bWanted
	for i := 0; i < *bCount; i++ {
		topic := wantedTopic
		if i%every != 0 || i/every >= *bWanted {
			topic = common.TopicType{0xd3, 0, 0, byte(i % otherTopics)}
		}
		at := end.Add(-archivedSpan / time.Duration(*bCount) * time.Duration(*bCount-i))
		e, err := archivedEnvelope(topic, at)
		if err != nil {
			return err
		}
		if err := db.SaveEnvelope(gethbridge.NewWakuEnvelope(e)); err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	emit("archived", fields{"n": *bCount, "wanted": *bWanted, "lower": end.Add(-archivedSpan - time.Minute).Unix(), "upper": end.Unix()})
	return nil
}

// archivedEnvelope has random data, and the work that comes by chance: an archive asks for none.
func archivedEnvelope(topic common.TopicType, at time.Time) (*common.Envelope, error) {
	random := make([]byte, 8+archivedData)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	return &common.Envelope{Expiry: uint32(at.Unix()) + archivedTTL, TTL: archivedTTL, Topic: topic,
		Data: random[8:], Nonce: binary.BigEndian.Uint64(random)}, nil
}
