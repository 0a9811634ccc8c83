"""The live process: one separate process for long polls of devices and event streams of pages.

It serves thousands of long polls and streams; each costs a socket and a few objects. Notifications
from one LISTEN connection wake the long polls and streams that they concern. A few threads run the
database queries, with the same functions as the site. The long polls of devices have their own
threads. connection_limits.py limits the number of pending requests (docs/decisions/0048).
"""
