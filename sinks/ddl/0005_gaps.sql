-- v_trace_gaps: runs of trace records that were gone from the log before the sink could store them; must be empty.
--   topic, partition    where they lay
--   first_offset        the first that is missing
--   next_offset         the first after the gap
--   records             how many are missing at most: marks of transactions count too
--   found_at            when the sink noticed
CREATE VIEW IF NOT EXISTS v_trace_gaps AS
SELECT
    topic,
    partition,
    wanted_offset AS first_offset,
    found_offset AS next_offset,
    found_offset - wanted_offset AS records,
    found_at
FROM sink_gaps FINAL;
