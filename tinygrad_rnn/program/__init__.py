"""Programs: cells traced once and compiled. `compiled` runs an unfolding, `trace` and `plan` show how it came about."""
