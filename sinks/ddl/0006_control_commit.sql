ALTER TABLE control_log ADD COLUMN IF NOT EXISTS git_commit String CODEC(ZSTD(1));
