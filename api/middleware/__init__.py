"""What every request passes: request ids, tracing, keys and scopes, rate limits, problem documents."""
