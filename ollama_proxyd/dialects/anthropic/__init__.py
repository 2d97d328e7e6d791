"""Anthropic's Messages API: what its clients send and read, and what engines that speak it answer."""
