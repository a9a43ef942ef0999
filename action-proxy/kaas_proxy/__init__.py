"""The action proxy: one kernel action behind OpenWhisk's `/init` and `/run`, run by the GPU pool.

docs/openwhisk-proxy.md says what it promises and where it differs from the proxies of other languages.
"""
