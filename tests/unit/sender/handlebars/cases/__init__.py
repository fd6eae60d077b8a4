"""The conformance cases, one module a feature; `CASES` is what each of them gives."""
