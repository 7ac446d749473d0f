"""Times of other implementations of the same work, measured in the same run (`foldcli bench peers`)."""
