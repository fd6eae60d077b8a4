"""`python -m local demo`: six mails go through the whole system, and each must end as expected."""
