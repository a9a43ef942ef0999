"""Programs that hold one CPU action each; every one is a file that runs on its own.

They are spoken to over a socket, by frames in both directions: a number (4 bytes, big-endian), the request's name
(8 bytes, which its reply repeats), the length of what follows (8 bytes), and JSON. Requests have OpenWhisk's bodies
under the numbers 0 for `/init` and 1 for `/run`; replies have the HTTP status that OpenWhisk's own proxies answer with.
One reply follows each request, and nothing else is ever sent. A zip's files lie in the working directory already: then
`/init` has no `code`.
"""
