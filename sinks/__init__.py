"""Storage: tables, batches of rows, migrations, views and the questions asked of them. Knows no stage and no model."""
