"""Files that a mail refers to: fetched from the Web (web.py) or from Cloud Storage (storage.py).

What must not happen: that a document makes the sender fetch from the network it runs in (guard.py), wait for longer
than the attempt lasts, or hold more than a mail may carry.
"""
