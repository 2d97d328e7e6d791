"""The commands of ollama-proxyctl, a module for each."""
