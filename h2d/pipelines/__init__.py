"""From a dataset's folder to a manifest: index, shards, stages, merge."""
