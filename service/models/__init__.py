"""Which model is served, and how another takes over while requests run."""
