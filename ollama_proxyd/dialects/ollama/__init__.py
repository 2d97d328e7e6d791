"""Ollama's native wire format."""
