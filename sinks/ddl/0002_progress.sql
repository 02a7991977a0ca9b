-- How far the sink has come, and what it could not have. Both are written after the rows that they speak of.
-- The row written last holds, by the warehouse's own clock: a lower number than before only means reading again.

CREATE TABLE IF NOT EXISTS sink_progress
(
    topic String,
    partition Int64,
    next_offset Int64 COMMENT 'rows of all records before this one are in the tables',
    written_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (topic, partition)
COMMENT 'How far the sink has come';

CREATE TABLE IF NOT EXISTS sink_gaps
(
    topic String,
    partition Int64,
    wanted_offset Int64 COMMENT 'the first record that is missing',
    found_offset Int64 COMMENT 'the first record after the gap',
    found_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(found_at)
ORDER BY (topic, partition, wanted_offset, found_offset)
COMMENT 'Records that the log had dropped before the sink could read them: must be empty';
