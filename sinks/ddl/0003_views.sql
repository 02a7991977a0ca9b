-- Views: what analysts, the command line and dashboards read. Their columns are promises (docs/query.md): a later
-- migration may add a column at the end, none goes away or changes its meaning. They read deduplicated (FINAL).

-- v_jobs: one row per (tenant, job_id): how the job ended, or that it waits for a person.
--   tenant, job_id      together the identity
--   status              terminal status, or 'escalated' while a person has the job
--   terminal            true when the job has ended
--   reason              why it ended so
--   confidence          calibrated probability that the output is right; NULL is unknown
--   workflow, version   workflow and the bundle hash that the job ran under
--   variant, tier       the last variant that answered and its size class (A, B, C); NULL when none did
--   model               the model that answered
--   rung, round         how far up the ladder it came, and trips through routing at that rung
--   arm                 baseline, canary or shadow
--   attempts            provider calls over all rungs
--   input_tokens, output_tokens  over all attempts that reported them
--   cost_usd            US dollars over all attempts; NULL when the price of one is unknown
--   priced_cost_usd     US dollars of the attempts with a known price
--   unpriced_attempts   attempts whose price is unknown
--   created_at          when the broker acknowledged the job
--   escalated_at        when a person last got it; NULL when none did
--   ended_at            NULL while it waits
--   deadline            the latest time to end
--   total_ms            from created_at to the end (or to the escalation)
--   stage               the stage that ended it
--   segments            caller's tags and those of intake
--   trace_id            W3C trace id
--   control_version     state of the switches in force
--   snapshot_id, snapshot_version  the context that the answer rests on
--   input_sha256, output_sha256    keys of payloads
--   source_topic, source_partition, source_offset  the address of the producer's record
--   terminal_rows       ends on record: 1, or 0 while it waits; anything else is a broken promise
CREATE OR REPLACE VIEW v_jobs AS
SELECT
    tenant,
    job_id,
    tupleElement(last, 1) AS status,
    tupleElement(last, 2) AS terminal,
    tupleElement(last, 3) AS reason,
    tupleElement(last, 4) AS confidence,
    tupleElement(last, 5) AS workflow,
    tupleElement(last, 6) AS version,
    tupleElement(last, 7) AS variant,
    tupleElement(last, 8) AS tier,
    tupleElement(last, 9) AS model,
    tupleElement(last, 10) AS rung,
    tupleElement(last, 11) AS round,
    tupleElement(last, 12) AS arm,
    tupleElement(last, 13) AS attempts,
    tupleElement(last, 14) AS input_tokens,
    tupleElement(last, 15) AS output_tokens,
    tupleElement(last, 16) AS cost_usd,
    tupleElement(last, 17) AS priced_cost_usd,
    tupleElement(last, 18) AS unpriced_attempts,
    tupleElement(last, 19) AS created_at
FROM
(
    SELECT tenant, job_id,
        argMax((status, terminal, reason, confidence, workflow, workflow_version, variant, tier, gen_ai_response_model,
        rung, round, arm, attempts, input_tokens, output_tokens, cost_usd, priced_cost_usd, unpriced_attempts, created_at), (terminal, time)) AS last
    FROM jobs FINAL
    GROUP BY tenant, job_id
)
