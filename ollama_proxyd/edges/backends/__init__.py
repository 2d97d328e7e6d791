"""The engines that answer requests, each kind behind the Backend port."""
