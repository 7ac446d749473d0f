"""Settings of the property-based tests."""

from hypothesis import settings

# a busy machine is no failure
settings.register_profile("foldcli", deadline=None)
settings.load_profile("foldcli")
