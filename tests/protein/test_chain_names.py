"""Names of chains: one character for 62 of them, then two and three, each once."""

from foldcli.protein.chain_names import chain_name


def test_names_in_order():
    assert [chain_name(k) for k in (0, 25, 26, 51, 52, 61, 62, 63, 88, 123, 124)] == [
        "A", "Z", "a", "z", "0", "9", "AA", "AB", "Aa", "A9", "BA",
    ]  # fmt: skip
    names = [chain_name(k) for k in range(62 + 62**2 + 1)]
    assert len(set(names)) == len(names)
    assert names[-1] == "AAA"
