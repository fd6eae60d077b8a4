"""Hostile input of every class that an outsider can send, at random, and what must hold for it.

`catalogue` lists the classes. `make test` runs each of them on a few inputs, `make fuzz` for as long as FUZZ_SECONDS
says, and docs/security.md says what was tried. A new class is a `Kind` in one of the modules here, and a line there.
"""
