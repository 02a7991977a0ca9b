"""Accounts for every job from the outside: topics, warehouse, the model server's log. Imports nothing of Penstock.

What it knows is what any user of the system knows: names of topics and groups, columns of views, fields of results.
"""
