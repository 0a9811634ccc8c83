"""The web server's application: an asynchronous front before Django's threads.

The event loop reads request bodies, waits and sends files. A thread works on a request only from
the moment its body is complete until its response is. Requests are divided into pools of threads
by what they do, so that no kind of request can keep the threads of another one busy.
"""
