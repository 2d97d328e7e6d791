"""The engines that the proxy runs itself, under a memory budget."""
