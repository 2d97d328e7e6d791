"""What attempts came to, told to a collector of OpenTelemetry; imported only where one is configured."""
