"""The whole system on one machine: `python -m local up`, `python -m local demo`.

__main__.py    the command line
stack.py       starts and stops all parts in order; options.py: the options of a run, on setting_names.py and ports.py
backends/      Firestore and Pub/Sub: `google` (Google's emulators) or `embedded` (in memory)
services.py    dispatcher and sender, started as in production, on processes.py and its watchdog.py
eventarc.py    stands in for Eventarc, scheduler.py for Cloud Scheduler, topics.py for Terraform
inbox.py       the mail server, on mailstore.py (what it keeps), mailview.py (how mails are read) and release.py
documents.py   what the console shows: the mail collection; queues.py: Pub/Sub; logview.py: logs; switches.py: faults
web/           the console's pages, and the API for tests
keeping.py     documents from one run to the next
demo/          the demo's stories and their expected outcomes
"""
