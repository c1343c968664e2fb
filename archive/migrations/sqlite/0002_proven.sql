-- Where proofs are asked for, a page of messages is read from these: however many rows without a proof lie between, they are not looked at.
CREATE INDEX log_proven_by_time ON log (sent, nanos, id) WHERE proven AND content_topic IS NOT NULL;
CREATE INDEX log_proven_by_content_topic ON log (content_topic, sent, nanos, id) WHERE proven AND content_topic IS NOT NULL;
