"""From queries to ranked structures on disk."""
