"""Webhooks as rows: endpoints and their secrets, events, deliveries, and every attempt at one.

The side that sends them is `courier/`. Words and wire format are those of https://www.standardwebhooks.com: an event is
told to each endpoint that wants it, as one delivery; a delivery is attempted until it succeeds or its schedule ends.
"""
