-- One row for what was sent, an envelope, a message, or both. Hashes are 32 bytes. A partition has what was sent in one day.
CREATE TABLE log (
    sent          BIGINT  NOT NULL, -- by the sender's clock, unix seconds
    nanos         INTEGER NOT NULL, -- and nanoseconds beyond them
    id            BYTEA   NOT NULL, -- message hash; of an envelope alone, the envelope hash
    content       BYTEA   NOT NULL, -- fingerprint
    topic         BYTEA,            -- envelope half: 4 bytes
    ttl           BIGINT,           -- envelope half: seconds
    wrapped       BOOLEAN,          -- envelope half: its data is a frame around the payload
    envelope      BYTEA,            -- envelope hash, once mined
    nonce         BIGINT,           -- as a signed number
    pubsub_topic  BYTEA,            -- message half: UTF-8
    content_topic BYTEA,            -- message half: UTF-8
    version       BIGINT,           -- message half
    meta          BYTEA,            -- message half
    proof         BYTEA,            -- message half: rate-limit proof, if it came with one
    proven        BOOLEAN NOT NULL,
    first         INTEGER NOT NULL, -- the side it came from: 0 is v1, 1 is v2
    reason        TEXT,             -- why it was not relayed; none if it was
    stored_at     BIGINT  NOT NULL, -- unix seconds
    size          INTEGER NOT NULL, -- what it takes on disk, nearly, in bytes
    payload       BYTEA   NOT NULL
) PARTITION BY RANGE (sent);

ALTER TABLE log ALTER COLUMN payload SET STORAGE EXTERNAL; -- mostly encrypted: compressing it is in vain

CREATE UNIQUE INDEX log_by_time ON log (sent, nanos, id);
CREATE UNIQUE INDEX log_by_envelope_time ON log (sent, envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_topic ON log (topic, sent, envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_content_topic ON log (content_topic, sent, nanos, id) WHERE content_topic IS NOT NULL;
CREATE INDEX log_by_id ON log (id);
CREATE INDEX log_by_envelope ON log (envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_content ON log (content);

-- The partitions, without a gap. What was sent before the first of them is not kept.
CREATE TABLE days (
    lower_secs BIGINT PRIMARY KEY, -- belongs to it
    upper_secs BIGINT NOT NULL     -- does not
);

-- How much there is in each. Those who write at the same time count in lines of their own.
CREATE TABLE tally (
    lower_secs BIGINT  NOT NULL REFERENCES days ON DELETE CASCADE,
    slot       INTEGER NOT NULL,
    rows       BIGINT  NOT NULL,
    bytes      BIGINT  NOT NULL,
    PRIMARY KEY (lower_secs, slot)
);
