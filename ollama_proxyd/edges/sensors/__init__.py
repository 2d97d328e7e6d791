"""What the machine says, one file for each source, behind the sensor ports."""
