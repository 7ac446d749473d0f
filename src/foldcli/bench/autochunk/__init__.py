"""Peak memory against time under AutoChunk's plans (`foldcli bench autochunk`)."""
