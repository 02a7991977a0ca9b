-- What people did about dead letters: redriven or dropped, by whom and why. The table grows with what people do, so it
-- is never large; the newest action about a letter is its state.

CREATE TABLE IF NOT EXISTS dead_letter_actions
(
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id String CODEC(ZSTD(1)),
    letter String COMMENT 'address of the dead letter: topic/partition/offset',
    n Int64 COMMENT 'how many things were done about this letter, this one included',
    action String COMMENT 'redrive or drop',
    who String,
    why String CODEC(ZSTD(1)),
    tenant String,
    job_id String CODEC(ZSTD(1)),
    new_job_id Nullable(String) CODEC(ZSTD(1)) COMMENT 'the job that does again what this one did not; NULL when the record was put back as it was',
    destination Nullable(String),
    stage String,
    error_class String,
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX new_job_id_filter new_job_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A person redrove or dropped a dead letter';
