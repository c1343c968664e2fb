-- What is on its way and what became of it, a row for each batch of the bridge's journal; bridge::journal::encoding says what stands in
-- `data`. Both tables share their numbers: what ended in a batch began in an earlier one, or in the same before it ended.
-- `begun` and `crossings` of step 2 are read once more and dropped when the journal starts, since SQL can't write what they hold as bytes.
CREATE TABLE begun_batches (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

-- Only ever added to and cut off at the old end.
CREATE TABLE ended_batches (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL, -- when it was written, unix seconds
    entries INTEGER NOT NULL,
    data    BLOB NOT NULL
) STRICT;
