"""Accounts for every job from the outside: topics, warehouse and the model server's own log. Imports nothing of Penstock.

What it knows is what any user of the system knows: names of topics and groups, columns of views, fields of results.
"""
