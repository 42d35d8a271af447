"""The Parquet tables that every step after preparation reads: `images`, `hands` and `rejects`."""
