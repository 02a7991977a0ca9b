CREATE TABLE IF NOT EXISTS targets
(
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant String,
    workflow String,
    workflow_version String,
    job_id String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    stage String,
    rung Int64,
    round Int64,
    arm String,
    control_version Int64,
    segments Map(String, String),
    event_id String CODEC(ZSTD(1)),
    gen_ai_provider_name String,
    target String,
    before String,
    after String,
    reason String CODEC(ZSTD(3)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A breaker or a key of a provider changed its state';
