"""What scripts/install, scripts/uninstall and scripts/build-deb have in common besides ollama_proxyd.cli.install."""
