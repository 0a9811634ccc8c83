"""The application of the web server: an asynchronous front for Django's threads.

The event loop receives request bodies, queues requests and sends files. A request uses a thread
only from the end of its body until its response is complete. Each kind of request has its own pool
of threads, so that no kind can use the threads of another.
"""
