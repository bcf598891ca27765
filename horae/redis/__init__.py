"""Addresses, credentials, connections and the primary of a Redis or Valkey, for store and queue."""
