"""The driving edge for gRPC: compute.v1.ComputeService, health checking and reflection; off unless configured."""
