-- What each waku/0 peer brought and was brought, by epoch (5/WAKU0, "Accounting for resources").
CREATE TABLE accounts (
    epoch              INTEGER NOT NULL, -- its start, in unix seconds
    peer               BLOB    NOT NULL, -- node id, 32 bytes
    envelopes_received INTEGER NOT NULL,
    bytes_received     INTEGER NOT NULL,
    envelopes_sent     INTEGER NOT NULL,
    bytes_sent         INTEGER NOT NULL,
    PRIMARY KEY (epoch, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_by_peer ON accounts (peer, epoch);
