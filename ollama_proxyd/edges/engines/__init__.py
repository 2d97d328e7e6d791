"""Engines that the proxy runs: their processes and the folders of their models."""
