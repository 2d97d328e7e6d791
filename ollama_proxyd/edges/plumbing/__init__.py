"""Thin wrappers of libraries that several edges share."""
