"""Wiring, lifetimes and signals."""
