"""The counted daemon, which asks plain backends with the client that otherwise takes only TLS and proxies."""

import runpy

from ollama_proxyd.edges.plumbing.upstream import pool

if __name__ == "__main__":
    pool.takes = lambda call: False
    runpy.run_module("tests.faults.counted_daemon", run_name="__main__")
