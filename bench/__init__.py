"""The benchmark: CPU, latency and requests per mail, in one table. docs/performance.md describes the method.

plan.py           the modes and loads (pure)
suite.py          the measurements of one run, in order
player.py         plays loads on a system, and measures
system.py         the services as in production, with Firestore, Pub/Sub and the instruments around them
programs.py       the programs beside them: mail servers (sink.py, postfix.py), pusher.py
documents.py      writes mails, and reads when they were written and concluded
ledger.py         records arrivals where they arrive
proxy.py          counts calls to Firestore and Pub/Sub
usage.py          the processes' CPU and memory
naive.py          a sender to compare with; standin.py: empty handlers; micro.py: single steps
figures.py        percentiles, figures per mail (pure)
extension.py      what Trigger Email took for the same loads (pure)
targets.py        targets, and whether they are met; optimisations.py: before and after (pure)
results.py        the JSON; sheets.py: tables (pure), drawn by table.py, markdown.py and chart.py
"""
