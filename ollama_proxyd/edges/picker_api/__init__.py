"""The endpoint picker: Envoy's external processing over gRPC, as the Gateway API Inference Extension has it."""
