"""The Pub/Sub half of the embedded backend."""
