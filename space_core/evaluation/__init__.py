"""Metrics and benchmarks. Never imported by the product."""
