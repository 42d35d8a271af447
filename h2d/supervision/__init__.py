"""Work in a process of its own, so that a native crash, a hang or the memory killer costs one item and not the run."""
