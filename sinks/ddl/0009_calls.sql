ALTER TABLE attempts ADD COLUMN IF NOT EXISTS gen_ai_usage_cache_write_tokens Nullable(Int64);
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS gen_ai_usage_reasoning_tokens Nullable(Int64);
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS cost_source Nullable(String);
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS estimated_usd Nullable(Decimal(18, 9))
    COMMENT 'US dollars that a call probably cost which reported no usage';
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS queue_ms Float64;
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS first_token_ms Nullable(Float64);
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS sent Bool DEFAULT true;

-- v_calls: one row per provider call (attempt).
--   time                when the call's row was made: after the call
--   tenant, job_id, trace_id, workflow, version, arm, segments, control_version  as in v_jobs
--   rung, round, n      the rung, the trip through routing at it, and the number of the call in that trip, from 0
--   attempt_id          the call's name, which the provider got as X-Penstock-Attempt
--   variant, tier       the variant called and its size class
--   provider, model     asked
--   model_answered      as the provider named it; NULL when it answered nothing
--   sent                false where there was no connection or no slot: it reached nobody
--   ok                  whether the call gave an answer
--   error_class         why not; NULL when it did
--   error               the error in the provider's words
--   http_status         NULL when there was no response
--   finish_reason       why the model stopped; NULL when it answered nothing
--   input_tokens, output_tokens, cached_tokens  as reported; NULL is unknown; cached_tokens are part of the input
--   cache_write_tokens, reasoning_tokens  the same; part of the input and of the output
--   cost_usd            US dollars; NULL is unknown, never zero
--   cost_unknown_because  the reason for that NULL
--   cost_source         whose prices were taken
--   estimated_usd       what a call probably cost that may have run and reported no usage
--   started_at          when the call began
--   total_ms            milliseconds until its end
--   queue_ms            of these, waited for a slot
--   first_token_ms      from sending to the first piece of the answer; NULL where it was not read as a stream
--   provider_request_id the provider's own name for it
--   limits              rate limit headers of the response
--   prompt_sha256       hash of the rendered prompt
--   request_sha256, response_sha256  keys of payloads
CREATE OR REPLACE VIEW v_calls AS
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
    sent,
    CAST(isNull(error_class), 'Bool') AS ok,
    error_class,
    error,
    http_response_status_code AS http_status,
    gen_ai_response_finish_reason AS finish_reason,
    gen_ai_usage_input_tokens AS input_tokens,
    gen_ai_usage_output_tokens AS output_tokens,
    gen_ai_usage_cached_tokens AS cached_tokens,
    gen_ai_usage_cache_write_tokens AS cache_write_tokens,
    gen_ai_usage_reasoning_tokens AS reasoning_tokens,
    cost_usd,
    cost_unknown_because,
    cost_source,
    estimated_usd,
    started_at,
    total_ms,
    queue_ms,
    first_token_ms,
    provider_request_id,
    limits,
    prompt_sha256,
    request_sha256,
    response_sha256
FROM attempts FINAL;
