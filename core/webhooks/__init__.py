"""Webhooks in the database: endpoints, secrets, events, deliveries and attempts.

`dispatcher/` sends them. Terms and wire format follow https://www.standardwebhooks.com: each event becomes one delivery
per subscribed endpoint, and a delivery is attempted until it succeeds or its schedule ends.
"""
