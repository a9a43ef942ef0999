"""The action proxy: one kernel action, run by the pool, behind OpenWhisk's `/init` and `/run` or as a Knative Service.

docs/openwhisk-proxy.md and docs/deploy/knative.md say what it promises.
"""
