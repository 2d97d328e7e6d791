"""The benchmark suite: the proxy, nginx and LiteLLM side by side, in ratios."""
