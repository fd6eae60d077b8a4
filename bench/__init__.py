"""The benchmark: what a mail costs, and how long it takes, in one table.

plan.py        which modes and loads there are (pure)
system.py      the services as in production, over a Firestore and a Pub/Sub, with what is measured around them
run.py         plays the loads and measures
documents.py   writes mails, and reads from the documents when they were written and concluded
sink.py        a mail server that takes everything, fast, and counts
pusher.py      Pub/Sub's pushes, as concurrent as the real ones
usage.py       what the services' processes have used: CPU, memory
figures.py     what is made of it: percentiles, figures per mail (pure)
table.py       what people see
"""
