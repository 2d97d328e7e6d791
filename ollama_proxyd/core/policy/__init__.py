"""Which backend answers a request, and why, as a pure function in joules."""
