-- What of history is missing, a row for each direction of each route: bridge::backfill. Small, and written whole every few seconds.
CREATE TABLE courses (
    route     TEXT    NOT NULL,
    direction INTEGER NOT NULL, -- 0 is v1 to v2, 1 is v2 to v1
    pubsub    TEXT    NOT NULL, -- where it begins: a pubsub topic, or nothing for v1
    seen      INTEGER NOT NULL, -- when somebody was last there to tell it, unix seconds
    missing   TEXT    NOT NULL, -- what is missing, as JSON
    outages   TEXT    NOT NULL, -- when the far side was away, as JSON
    PRIMARY KEY (route, direction)
) STRICT, WITHOUT ROWID;
