"""The whole system on one machine: `python -m local up`, `python -m local demo`.

__main__.py    the command line
stack.py       starts and stops all parts in order; options.py: the options of a run
backends/      Firestore and Pub/Sub: `google` (Google's emulators) or `embedded` (in memory)
services.py    dispatcher and sender, started as in production, on processes.py and its watchdog.py
eventarc.py    stands in for Eventarc, scheduler.py for Cloud Scheduler, topics.py for Terraform
inbox.py       the mail server; web/: the pages that show its mails, and the documents
demo/          the demo's stories and their expected outcomes
"""
