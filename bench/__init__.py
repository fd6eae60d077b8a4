"""The benchmark: what a mail costs, and how long it takes, in one table. docs/performance.md says how it measures.

plan.py           which modes and loads there are (pure)
suite.py          what is measured in one run, in which order
player.py         plays loads on a system, and measures
system.py         the services as in production, over a Firestore and a Pub/Sub, with what is measured around them
programs.py       the programs beside them: mail servers (sink.py, postfix.py), pusher.py
documents.py      writes mails, and reads from the documents when they were written and concluded
ledger.py         what has arrived, noted where it arrives
proxy.py          counts calls to Firestore and Pub/Sub
usage.py          what processes have used: CPU, memory
naive.py          a sender to compare with; standin.py: empty handlers; micro.py: single steps
figures.py        what is made of it: percentiles, figures per mail (pure)
targets.py        what is to be reached, and whether it is; optimisations.py: before and after (pure)
results.py        the JSON; sheets.py: tables (pure), drawn by table.py, markdown.py and chart.py
"""
