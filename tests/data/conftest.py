"""Settings of the property-based tests."""

from hypothesis import settings

# no deadline: a busy machine must not fail a test
settings.register_profile("foldcli", deadline=None)
settings.load_profile("foldcli")
