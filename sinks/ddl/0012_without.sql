ALTER TABLE decisions ADD COLUMN IF NOT EXISTS without Map(String, String);

-- v_trace: one row per thing that happened to a job. ORDER BY time, position.
--   tenant, job_id      together the identity
--   time                when it happened
--   position            order of things that happened at the same time
--   stage               where
--   rung, round         NULL where they are not known (dead letters)
--   kind                stage, decision, call, tool, check, gate, escalation, end or dead_letter
--   what                what came of it: outcome, variant chosen, 'answered' or the error class, check and verdict,
--                       the gate's decision, the tool and how its call went, the status, the dead letter's error class
--   reason              why, in words; may be empty
--   ms                  how long it took; NULL where nothing took time; of an end, the whole job
--   cost_usd            US dollars of a call; NULL when unknown and on every other kind, so that a sum is right
--   detail              what else is known, by name
--   workflow, version, trace_id  as in v_jobs; empty on dead letters
--   event_id            the row's own name
CREATE OR REPLACE VIEW v_trace AS
SELECT
    tenant, job_id, time, 1 AS position, stage,
    toNullable(rung) AS rung, toNullable(round) AS round,
    'stage' AS kind, outcome AS what, reason,
    toNullable(duration_ms) AS ms,
    CAST(NULL, 'Nullable(Decimal(18, 9))') AS cost_usd,
    mapFilter((k, v) -> v != '', map(
        'status', ifNull(status, ''),
        'error_class', ifNull(error_class, ''),
        'queue_ms', toString(queue_ms),
        'worker', worker,
        'read_from', concat(messaging_destination_name, '/', toString(messaging_kafka_partition), '/', toString(messaging_kafka_offset))
    )) AS detail,
    workflow, workflow_version AS version, trace_id, event_id
FROM stage_events FINAL
UNION ALL
SELECT
    tenant, job_id, time, 0, stage,
    toNullable(rung), toNullable(round),
    'decision', variant, arrayStringConcat(reasons, '; '),
    CAST(NULL, 'Nullable(Float64)'),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    mapFilter((k, v) -> v != '', map(
        'tier', tier,
        'provider', gen_ai_provider_name,
        'model', gen_ai_request_model,
        'skipped', arrayStringConcat(skipped, '; '),
        'without', arrayStringConcat(arrayMap((k, v) -> concat(k, ': ', v), mapKeys(without), mapValues(without)), '; ')
    )),
    workflow, workflow_version, trace_id, event_id
FROM decisions FINAL
UNION ALL
SELECT
    tenant, job_id, time, 0, stage,
    toNullable(rung), toNullable(round),
    'call', ifNull(error_class, 'answered'), coalesce(error, gen_ai_response_finish_reason, ''),
    toNullable(total_ms),
    cost_usd,
    mapFilter((k, v) -> v != '', map(
        'attempt_id', attempt_id,
        'variant', variant,
        'provider', gen_ai_provider_name,
        'model', gen_ai_request_model,
        'model_answered', ifNull(gen_ai_response_model, ''),
        'http_status', ifNull(toString(http_response_status_code), ''),
        'input_tokens', ifNull(toString(gen_ai_usage_input_tokens), ''),
        'output_tokens', ifNull(toString(gen_ai_usage_output_tokens), ''),
        'cost_unknown_because', ifNull(cost_unknown_because, ''),
        'request_sha256', request_sha256,
        'response_sha256', ifNull(response_sha256, '')
    )),
    workflow, workflow_version, trace_id, event_id
FROM attempts FINAL
UNION ALL
SELECT
    tenant, job_id, started_at, 1, stage,
    toNullable(rung), toNullable(round),
    'tool', concat(gen_ai_tool_name, ': ', status), ifNull(error, ''),
    toNullable(total_ms),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    mapFilter((k, v) -> v != '', map(
        'attempt_id', attempt_id,
        'call_id', gen_ai_tool_call_id,
        'tries', toString(tries),
        'http_status', ifNull(toString(http_response_status_code), ''),
        'idempotency_key', idempotency_key,
        'arguments_sha256', arguments_sha256,
        'response_sha256', ifNull(response_sha256, '')
    )),
    workflow, workflow_version, trace_id, event_id
FROM tool_calls FINAL
UNION ALL
SELECT
    tenant, job_id, time, 0, stage,
    toNullable(rung), toNullable(round),
    'check', concat(check_name, ': ', verdict), evidence,
    toNullable(duration_ms),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    map('version', check_version),
    workflow, workflow_version, trace_id, event_id
FROM checks FINAL
UNION ALL
SELECT
    tenant, job_id, time, 0, stage,
    toNullable(rung), toNullable(round),
    'gate', decision, reason,
    CAST(NULL, 'Nullable(Float64)'),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    mapFilter((k, v) -> v != '', map(
        'confidence', ifNull(toString(confidence), ''),
        'raw_confidence', ifNull(toString(raw_confidence), ''),
        'accept_at', toString(accept_at),
        'climb_below', toString(climb_below),
        'calibration', calibration,
        'variant', variant,
        'model', gen_ai_response_model,
        'output_sha256', output_sha256
    )),
    workflow, workflow_version, trace_id, event_id
FROM grades FINAL
UNION ALL
SELECT
    tenant, job_id, time, 2, stage,
    toNullable(rung), toNullable(round),
    if(terminal, 'end', 'escalation'), status, reason,
    toNullable(total_ms),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    mapFilter((k, v) -> v != '', map(
        'confidence', ifNull(toString(confidence), ''),
        'variant', ifNull(variant, ''),
        'model', ifNull(gen_ai_response_model, ''),
        'attempts', toString(attempts),
        'cost_usd', ifNull(toString(cost_usd), 'unknown'),
        'input_sha256', input_sha256,
        'output_sha256', ifNull(output_sha256, ''),
        'published_at', concat(source_topic, '/', toString(source_partition), '/', toString(source_offset))
    )),
    workflow, workflow_version, trace_id, event_id
FROM jobs FINAL
UNION ALL
SELECT
    tenant, job_id, time, 2, stage,
    CAST(NULL, 'Nullable(Int64)'), CAST(NULL, 'Nullable(Int64)'),
    'dead_letter', error_class, message,
    CAST(NULL, 'Nullable(Float64)'),
    CAST(NULL, 'Nullable(Decimal(18, 9))'),
    map('read_from', concat(messaging_destination_name, '/', toString(messaging_kafka_partition), '/', toString(messaging_kafka_offset))),
    '', '', '', event_id
FROM dead_letters FINAL;
