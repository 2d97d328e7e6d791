"""One local endpoint for every accelerator in a laptop, routed by energy."""

__version__ = "0.1.0"
