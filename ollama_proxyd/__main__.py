"""`python -m ollama_proxyd` is the daemon."""

from ollama_proxyd.cli.main import daemon

if __name__ == "__main__":
    daemon()
