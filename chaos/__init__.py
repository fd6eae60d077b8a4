"""The chaos run: thousands of mails through the whole system while everything that can fail does.

plan.py        the faults, all determined by a seed (pure)
mailserver.py  the mail server: follows the plan, and logs the mails that it accepted
system.py      dispatcher, two senders, Firestore, Pub/Sub and Eventarc, with their faults
run.py         writes the mails, kills processes as planned, waits for the end
books.py       compares the documents, Pub/Sub and the mail server's log (pure)
report.py      progress and results on the terminal
"""
