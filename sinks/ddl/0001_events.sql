-- Trace events: one table per model of schemas/trace.py, one row per thing that happened, never changed.
--
-- A row may arrive more than once (the sink inserts again what it is not sure of). All its copies are equal, so they
-- have one key and one partition and collapse: in merges by and by, in reads with FINAL at once. Hence every sorting
-- key ends in event_id, and both keys hold nothing but fields of the record.
-- The key begins with the hour, so that a span of time is a run of rows; within the hour a job's rows lie together.
-- Every whole number is Int64, what Avro's long is: a narrower column would cut a number off without a word.
-- A statement ends in a semicolon at the end of a line, and nothing else does.

CREATE TABLE IF NOT EXISTS stage_events
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
    outcome String,
    status Nullable(String),
    reason String CODEC(ZSTD(1)),
    error_class Nullable(String),
    queue_ms Float64,
    duration_ms Float64,
    worker String,
    messaging_destination_name String,
    messaging_kafka_partition Int64,
    messaging_kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A stage finished with a job';

CREATE TABLE IF NOT EXISTS decisions
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
    variant String,
    tier String,
    gen_ai_provider_name String,
    gen_ai_request_model String,
    reasons Array(String) CODEC(ZSTD(1)),
    skipped Array(String) CODEC(ZSTD(1)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'Routing chose a variant and a model';

CREATE TABLE IF NOT EXISTS attempts
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
    attempt_id String CODEC(ZSTD(1)),
    n Int64,
    variant String,
    tier String,
    gen_ai_provider_name String,
    gen_ai_request_model String,
    gen_ai_response_model Nullable(String),
    gen_ai_response_finish_reason Nullable(String),
    gen_ai_usage_input_tokens Nullable(Int64),
    gen_ai_usage_output_tokens Nullable(Int64),
    gen_ai_usage_cached_tokens Nullable(Int64),
    cost_usd Nullable(Decimal(18, 9)) COMMENT 'US dollars; NULL is unknown, never zero',
    cost_unknown_because Nullable(String),
    prompt_sha256 String CODEC(ZSTD(1)),
    request_sha256 String CODEC(ZSTD(1)),
    response_sha256 Nullable(String) CODEC(ZSTD(1)),
    http_response_status_code Nullable(Int64),
    error_class Nullable(String),
    error Nullable(String) CODEC(ZSTD(3)),
    provider_request_id Nullable(String) CODEC(ZSTD(1)),
    limits Map(String, String),
    started_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    total_ms Float64,
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'One provider call';

CREATE TABLE IF NOT EXISTS checks
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
    check_name String,
    check_version String,
    verdict String COMMENT 'allow, deny or unknown; unknown is never allow',
    evidence String CODEC(ZSTD(3)),
    duration_ms Float64,
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A check spoke about an answer';

CREATE TABLE IF NOT EXISTS grades
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
    variant String,
    gen_ai_response_model String,
    decision String,
    reason String CODEC(ZSTD(1)),
    raw_confidence Nullable(Float64),
    confidence Nullable(Float64) COMMENT 'calibrated; NULL is unknown, never zero',
    accept_at Float64,
    climb_below Float64,
    calibration String,
    output_sha256 String CODEC(ZSTD(1)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'The gate decided';

CREATE TABLE IF NOT EXISTS jobs
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
    status String,
    terminal Bool,
    reason String CODEC(ZSTD(1)),
    confidence Nullable(Float64),
    variant Nullable(String),
    tier Nullable(String),
    gen_ai_response_model Nullable(String),
    input_sha256 String CODEC(ZSTD(1)),
    output_sha256 Nullable(String) CODEC(ZSTD(1)),
    attempts Int64,
    input_tokens Int64,
    output_tokens Int64,
    cost_usd Nullable(Decimal(18, 9)) COMMENT 'US dollars of all attempts; NULL when the price of one is unknown',
    priced_cost_usd Decimal(18, 9) COMMENT 'US dollars of the attempts whose price is known',
    unpriced_attempts Int64,
    created_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    deadline DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    total_ms Float64,
    snapshot_id Nullable(String) CODEC(ZSTD(1)),
    snapshot_version Nullable(String) CODEC(ZSTD(1)),
    source_topic String,
    source_partition Int64,
    source_offset Int64 CODEC(Delta, ZSTD(1)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id_filter trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A job ended or went to a person';

-- Equal texts are one row, the one seen last, which lives 30 days from then. Another span of life:
--   ALTER TABLE payloads MODIFY TTL toDateTime(time) + INTERVAL 90 DAY
CREATE TABLE IF NOT EXISTS payloads
(
    sha256 String CODEC(ZSTD(1)),
    kind String,
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    text String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(time)
PARTITION BY toYYYYMM(time)
ORDER BY sha256
TTL toDateTime(time) + INTERVAL 30 DAY
COMMENT 'A text that rows refer to by its hash';

CREATE TABLE IF NOT EXISTS control_log
(
    control_version Int64,
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    key String,
    kind String,
    target String,
    name String,
    version String,
    who String,
    why String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY control_version
COMMENT 'A switch was thrown';

CREATE TABLE IF NOT EXISTS dead_letters
(
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id String CODEC(ZSTD(1)),
    stage String,
    tenant String,
    job_id String CODEC(ZSTD(1)),
    error_class String,
    message String CODEC(ZSTD(3)),
    messaging_destination_name String,
    messaging_kafka_partition Int64,
    messaging_kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    INDEX job_id_filter job_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toStartOfHour(time), tenant, job_id, event_id)
COMMENT 'A record was given up on';
