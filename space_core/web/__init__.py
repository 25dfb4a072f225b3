"""The web demo: page, endpoints, jobs, live sessions, the server with its limits, settings, metrics and logs."""
