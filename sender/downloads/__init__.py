"""Downloads the files that a mail refers to, from the Web (web.py) or Cloud Storage (storage.py).

A document must not be able to make the sender fetch from its own network (guard.py), wait beyond the attempt's
deadline, or hold more bytes than a mail may carry.
"""
