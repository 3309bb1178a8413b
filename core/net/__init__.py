"""Outgoing HTTP to addresses of callers: URL parsing, the SSRF guard, guarded connections."""
