"""Asynchronous owners of state; they speak only to ports."""
