"""Finds what is wrong on this machine: facts are gathered in one place and judged in another."""
