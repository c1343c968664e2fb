-- One row for what was sent, an envelope, a message, or both. Hashes are 32 bytes.
CREATE TABLE log (
    sent          INTEGER NOT NULL, -- by the sender's clock, unix seconds
    nanos         INTEGER NOT NULL, -- and nanoseconds beyond them
    id            BLOB    NOT NULL, -- message hash; of an envelope alone, the envelope hash
    content       BLOB    NOT NULL, -- fingerprint
    topic         BLOB,             -- envelope half: 4 bytes
    ttl           INTEGER,          -- envelope half: seconds
    wrapped       INTEGER,          -- envelope half: its data is a frame around the payload
    envelope      BLOB,             -- envelope hash, once mined
    nonce         INTEGER,          -- as a signed number
    pubsub_topic  BLOB,             -- message half: UTF-8
    content_topic BLOB,             -- message half: UTF-8
    version       INTEGER,          -- message half
    meta          BLOB,             -- message half
    proof         BLOB,             -- message half: rate-limit proof, if it came with one
    proven        INTEGER NOT NULL,
    first         INTEGER NOT NULL, -- the side it came from: 0 is v1, 1 is v2
    reason        TEXT,             -- why it was not relayed; none if it was
    stored_at     INTEGER NOT NULL, -- unix seconds
    size          INTEGER NOT NULL, -- what it takes on disk, nearly, in bytes
    payload       BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX log_by_time ON log (sent, nanos, id);
CREATE UNIQUE INDEX log_by_envelope_time ON log (sent, envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_topic ON log (topic, sent, envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_content_topic ON log (content_topic, sent, nanos, id) WHERE content_topic IS NOT NULL;
CREATE INDEX log_by_id ON log (id);
CREATE INDEX log_by_envelope ON log (envelope) WHERE envelope IS NOT NULL;
CREATE INDEX log_by_content ON log (content);

-- How much there is, kept with every change.
CREATE TABLE totals (
    rows  INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0);
