-- What is on its way between the networks, with what it takes to begin again. Small: it lives for seconds.
CREATE TABLE begun (
    content BLOB NOT NULL,     -- fingerprint, 32 bytes
    sent    INTEGER NOT NULL,  -- by the sender's clock, unix seconds
    at      INTEGER NOT NULL,  -- when it came, unix seconds
    first   INTEGER NOT NULL,  -- the side it came from: 0 is v1, 1 is v2
    topic   TEXT,              -- pubsub topic of a message; none for an envelope
    data    BLOB NOT NULL,     -- the message or the envelope, as it came
    PRIMARY KEY (content, sent)
) STRICT, WITHOUT ROWID;

-- What became of what was on its way, in the order in which it ended. Only ever added to and cut off at the old end, so it needs no index.
CREATE TABLE crossings (
    id       INTEGER PRIMARY KEY,
    content  BLOB NOT NULL,
    sent     INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    reason   TEXT,              -- why it was dropped; none if it crossed
    envelope BLOB,              -- hash, 32 bytes
    message  BLOB               -- hash, 32 bytes
) STRICT;
