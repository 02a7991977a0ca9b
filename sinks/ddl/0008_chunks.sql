CREATE TABLE IF NOT EXISTS chunks
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
    snapshot_id String,
    snapshot_version String,
    chunk_id String CODEC(ZSTD(1)),
    source String,
    source_updated_at Nullable(DateTime64(6, 'UTC')) COMMENT 'NULL is unknown',
    indexed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'NULL is unknown',
    index_version String,
    score Nullable(Float64),
    age_s Nullable(Float64) COMMENT 'seconds from the source''s last change to the job; NULL is unknown',
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A job brought a piece of context';
