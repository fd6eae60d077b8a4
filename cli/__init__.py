"""The operator's command line: `python -m cli`.

__main__.py      the group: where to look, and the commands' names
send.py          `send`, on draft.py (a mail from flags and a file)
status.py        `status`, and the watching that `send --wait` shares (watch.py)
listing.py       `list`
retry.py         `retry`
dead_letters.py  `dead-letters`, on letters.py (what a dead letter says) and subscription.py (pulling without consuming)
mail.py, selection.py, times.py   pure: a document as operators see it, which ones are meant, points in time
view.py, output.py                how it is shown; exits.py: how it ends
clients.py, mailbox.py            Firestore and Pub/Sub
"""
