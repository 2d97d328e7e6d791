"""Days of requests on simulated machines, in virtual time, through the real gateway and policy."""
