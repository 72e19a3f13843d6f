"""The main job end to end on one machine: `python -m sandbox.demo`, or `make demo`.

An agent reads a folder of e-mails and the bank's bills, proposes what it was asked for, the gate decides, people
countersign, Countersign executes once, and everything is verified from outside. Nothing here reaches around the API:
the agent has its API key, people have their sessions, and the bank is read in its own books.
"""
