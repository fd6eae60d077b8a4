"""The operator's command line: `python -m cli`.

__main__.py      the group: the options of the target, and where each command is
send.py          `send`, on draft.py (a mail from flags and a file)
status.py        `status`, with timeline.py (pure), and the watching that `send --wait` shares (watch.py)
listing.py       `list`
find.py          `find`, on search.py (pure: what is known of a mail, as queries and as a filter)
counts.py        `counts`
retry.py         `retry`; adopt.py, `adopt`; cancel.py, `cancel`: all on set_state.py
pause.py         `pause`, `resume`
dead_letters.py  `dead-letters`, on subscription.py (non-destructive pull)
importing.py     `import`, on env_file.py (files), parameters.py (names), trigger_email.py and trigger_email_login.py
                 (their meaning) and tfvars.py (Terraform's variables, and commands), all of them pure
check_documents.py  `check-documents`, on rehearsal.py (pure: the faults of documents, grouped)
template.py      `template`; `lint` on template_files.py, template_lint.py, template_names.py and template_places.py
doctor/          `doctor`
audit.py         `audit`, on auditor.py (stories and histories), allowed.py and fitting.py (what the state machine
                 allows) and records.py (log entries and documents in files), all of them pure
shadow.py        `shadow report`, on shadow_looks.py (pure: what looks at mails say)
log_entries.py   the JSON objects in a file, for the last two
mail.py, selection.py, times.py   pure: a document as operators see it, which documents to select, points in time
view.py, output.py                display; exits.py: exit codes
target.py        the installation; clients.py, mailbox.py, Firestore; topics.py, Pub/Sub
"""
