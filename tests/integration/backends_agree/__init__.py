"""The embedded backend compared with Google's emulators: the same random operations, the same answers.

Google's are right, with these exceptions, where the emulators (Firestore 1.19.9, Pub/Sub 0.8.20) differ from Google's
cloud, and which are excluded from the comparison: events for writes that change nothing, an empty `update_mask` in
events, writers that wait for open transactions and are aborted after two seconds (here the first to commit wins, and
the transaction is aborted, as the cloud does where concurrency is optimistic), and subscription filters, which have no
effect there.
"""
