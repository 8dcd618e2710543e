"""The workloads that claims of performance rest on."""
