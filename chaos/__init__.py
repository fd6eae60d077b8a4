"""The chaos run: thousands of mails through the whole system while everything that can fail does.

plan.py        what goes wrong, all of it decided by a seed (pure)
mailserver.py  the mail server: does what the plan says, and keeps a log of what it took
system.py      dispatcher, two senders, Firestore, Pub/Sub and Eventarc, with their faults
run.py         writes the mails, kills processes when their time has come, waits for the end
books.py       compares the documents, Pub/Sub and the mail server's log (pure)
report.py      what people see
"""
