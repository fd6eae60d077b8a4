"""The conformance cases: one module per feature, each with `CASES`."""
