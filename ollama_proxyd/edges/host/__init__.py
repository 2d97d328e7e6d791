"""The service manager, the journal and the login manager that the daemon runs under."""
