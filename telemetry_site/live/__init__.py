"""The process that lets devices and pages wait: one for all of them, and of its own.

Long polls and streams of events, thousands of them, cost it a socket and a few objects each. What
it is told over one LISTEN connection wakes those whom it concerns; what they then ask of the
database a few threads do, with the functions that the site itself uses. Devices' polls have threads
that nothing else uses, and places.py limits how many requests wait (docs/decisions/0048).
"""
