-- Views: what analysts, the command line and dashboards read. Their columns are promises (described in docs/query.md):
-- a later migration may add a column at the end, none goes away or changes its meaning. All read deduplicated rows.

-- v_jobs: one row per (tenant, job_id): how the job ended or, until then, that it waits for a person.
--   tenant, job_id      together the identity
--   status              the terminal status, or 'escalated' while a person has the job
--   terminal            whether the job has ended
--   reason              why it ended so
--   confidence          calibrated probability that the output is right; NULL is unknown, never zero
--   workflow, version   the workflow and the bundle that the job ran under
--   variant, tier       the last variant that was tried and its size class (A, B, C); NULL when none was
--   model               the model that answered; NULL when none did
--   rung, round         how far up the ladder it came, and trips through routing at that rung, both from 0
--   arm                 baseline, canary or shadow
--   attempts            provider calls over all rungs
--   tokens, input_tokens, output_tokens  over all attempts that reported them
--   cost_usd            US dollars over all attempts; NULL when the price of one is unknown, never zero for that
--   priced_cost_usd     US dollars of the attempts with a known price
--   unpriced_attempts   attempts whose price is unknown
--   created_at          when the broker acknowledged the job
--   escalated_at        when a person last got it; NULL when none did
--   ended_at            when it ended; NULL while it waits
--   deadline            the latest time to end
--   total_ms            milliseconds from created_at to the end, or to the escalation while it waits
--   stage               the stage that ended it or gave it to a person
--   segments            the caller's tags and those of intake
--   trace_id            W3C trace id, 32 hex digits
--   control_version     the state of the switches that the ending stage had seen
--   snapshot_id, snapshot_version  the context that the answer rests on; NULL without one
--   input_sha256, output_sha256    keys of payloads
--   source_topic, source_partition, source_offset  the address of the producer's record
--   terminal_rows       ends on record: 1, or 0 while it waits; anything else is a broken promise
CREATE VIEW IF NOT EXISTS v_jobs AS
SELECT
    tenant,
    job_id,
    status,
    terminal,
    reason,
    confidence,
    workflow,
    workflow_version AS version,
    variant,
    tier,
    gen_ai_response_model AS model,
    rung,
    round,
    arm,
    attempts,
    input_tokens + output_tokens AS tokens,
    input_tokens,
    output_tokens,
    cost_usd,
    priced_cost_usd,
    unpriced_attempts,
    created_at,
    escalated_at,
    if(terminal, time, NULL) AS ended_at,
    deadline,
    total_ms,
    stage,
    segments,
    trace_id,
    control_version,
    snapshot_id,
    snapshot_version,
    input_sha256,
    output_sha256,
    source_topic,
    source_partition,
    source_offset,
    terminal_rows
FROM
(
    SELECT
        *,
        row_number() OVER (PARTITION BY tenant, job_id ORDER BY terminal DESC, time DESC) AS nth,
        countIf(terminal) OVER (PARTITION BY tenant, job_id) AS terminal_rows,
        maxOrNullIf(time, NOT terminal) OVER (PARTITION BY tenant, job_id) AS escalated_at
    FROM jobs FINAL
)
WHERE nth = 1;

-- v_calls: one row per provider call (attempt).
--   time                when the call's row was made: after the call
--   tenant, job_id, trace_id, workflow, version, arm, segments, control_version  as in v_jobs
--   rung, round, n      the rung, the trip through routing at it, and the number of the call in that trip, from 0
--   attempt_id          the call's name, which the provider got as X-Penstock-Attempt
--   variant, tier       the variant called and its size class
--   provider, model     asked
--   model_answered      as the provider named it; NULL when it answered nothing
--   ok                  whether the call gave an answer
--   error_class         why not; NULL when it did
--   error               the error in the provider's words
--   http_status         NULL when there was no response
--   finish_reason       why the model stopped; NULL when it answered nothing
--   input_tokens, output_tokens, cached_tokens  as reported; NULL is unknown
--   cost_usd            US dollars; NULL is unknown, never zero
--   cost_unknown_because  the reason for that NULL
--   started_at          when the call began
--   total_ms            milliseconds until its end
--   provider_request_id the provider's own name for it
--   limits              rate limit headers of the response
--   prompt_sha256       hash of the rendered prompt
--   request_sha256, response_sha256  keys of payloads
CREATE VIEW IF NOT EXISTS v_calls AS
SELECT
    time,
    tenant,
    job_id,
    trace_id,
    workflow,
    workflow_version AS version,
    arm,
    segments,
    control_version,
    rung,
    round,
    n,
    attempt_id,
    variant,
    tier,
    gen_ai_provider_name AS provider,
    gen_ai_request_model AS model,
    gen_ai_response_model AS model_answered,
    CAST(isNull(error_class), 'Bool') AS ok,
    error_class,
    error,
    http_response_status_code AS http_status,
    gen_ai_response_finish_reason AS finish_reason,
    gen_ai_usage_input_tokens AS input_tokens,
    gen_ai_usage_output_tokens AS output_tokens,
    gen_ai_usage_cached_tokens AS cached_tokens,
    cost_usd,
    cost_unknown_because,
    started_at,
    total_ms,
    provider_request_id,
    limits,
    prompt_sha256,
    request_sha256,
    response_sha256
FROM attempts FINAL;

-- v_trace: one row per thing that happened to a job. ORDER BY time, position.
--   tenant, job_id      together the identity
--   time                when it happened
--   position            order of things that happened at the same time
--   stage               where
--   rung, round         NULL where they are not known (dead letters)
--   kind                stage, decision, call, check, gate, escalation, end or dead_letter
--   what                what came of it: outcome, variant chosen, 'answered' or the error class, check and verdict,
--                       the gate's decision, the status, the dead letter's error class
--   reason              why, in words; may be empty
--   ms                  how long it took; NULL where nothing took time; of an end, the whole job
--   cost_usd            US dollars of a call; NULL when unknown and on every other kind, so that a sum is right
--   detail              what else is known, by name
--   workflow, version, trace_id  as in v_jobs; empty on dead letters
--   event_id            the row's own name
CREATE VIEW IF NOT EXISTS v_trace AS
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
        'skipped', arrayStringConcat(skipped, '; ')
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

-- v_cost: what was spent and what came of it, per day (UTC), workflow, version, variant and model asked.
-- Calls and money count where they were spent; a job counts where it ended, that is at the variant and model of its
-- last call ('' when none was made). So every column but the shares adds up over any rows, and money for a rung that
-- was climbed past stays with that rung: cost per accepted answer of a workflow is sum(cost_usd) / sum(accepted).
--   day                 of the call, or of the job's end
--   workflow, version, variant, model
--   jobs                jobs that ended
--   accepted            of these, answers given: accepted, accepted_unverified, accepted_after_review, corrected
--   calls               provider calls, failed ones among them
--   failed_calls        of these, without an answer
--   priced_calls        calls whose cost is known
--   price_coverage      priced_calls / calls, 0 to 1; NULL without calls
--   input_tokens, output_tokens  as far as reported
--   cost_usd            US dollars of the priced calls; NULL when there is none: read it beside price_coverage
--   cost_per_accepted_usd  cost_usd / accepted, failed calls included; NULL when either is missing
CREATE VIEW IF NOT EXISTS v_cost AS
SELECT
    day,
    workflow,
    version,
    variant,
    model,
    sum(is_job) AS jobs,
    sum(is_accepted) AS accepted,
    sum(is_call) AS calls,
    sum(is_failed) AS failed_calls,
    countIf(isNotNull(cost)) AS priced_calls,
    if(calls = 0, NULL, priced_calls / calls) AS price_coverage,
    sum(tokens_in) AS input_tokens,
    sum(tokens_out) AS output_tokens,
    sumOrNull(cost) AS cost_usd,
    if(accepted = 0, NULL, toFloat64(cost_usd) / accepted) AS cost_per_accepted_usd
FROM
(
    SELECT
        toDate(time, 'UTC') AS day, workflow, workflow_version AS version, variant, gen_ai_request_model AS model,
        0 AS is_job, 0 AS is_accepted, 1 AS is_call, toUInt8(isNotNull(error_class)) AS is_failed,
        ifNull(gen_ai_usage_input_tokens, 0) AS tokens_in, ifNull(gen_ai_usage_output_tokens, 0) AS tokens_out,
        cost_usd AS cost
    FROM attempts FINAL
    UNION ALL
    SELECT
        toDate(ended.ended_at, 'UTC'), ended.workflow, ended.version, called.variant, called.model,
        1, toUInt8(ended.status IN ('accepted', 'accepted_unverified', 'accepted_after_review', 'corrected')), 0, 0,
        0, 0,
        CAST(NULL, 'Nullable(Decimal(18, 9))')
    FROM
    (
        SELECT tenant, job_id, workflow, version, status, assumeNotNull(ended_at) AS ended_at FROM v_jobs WHERE terminal
    ) AS ended
    LEFT JOIN
    (
        SELECT
            tenant, job_id,
            argMax(variant, (rung, round, n)) AS variant,
            argMax(gen_ai_request_model, (rung, round, n)) AS model
        FROM attempts
        GROUP BY tenant, job_id
    ) AS called USING (tenant, job_id)
)
GROUP BY day, workflow, version, variant, model;
