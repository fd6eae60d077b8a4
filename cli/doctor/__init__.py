"""`python -m cli doctor`: is every hop of a deployed installation in order?

Each check is a pure function from what Google's APIs say to a finding. `google_apis` asks them over HTTPS; `trial_run`
sends test mails; `unread` counts documents; `local_stack` looks at a local stack. Nothing else here does any I/O.
"""
