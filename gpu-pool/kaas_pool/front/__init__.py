"""The pool's front: its HTTP API, admission, bundles, scheduling and the lives of invocations.

It touches no data (inline values excepted), no CUDA and no user code; docs/contracts.md has what it promises.
"""
