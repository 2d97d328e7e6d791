"""The built-in demo fleet: four simulated devices that speak Ollama's API on loopback."""
