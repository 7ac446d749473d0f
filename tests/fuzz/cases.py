"""Generated command lines, with the files that they name: mostly wrong, each in a way that people get things wrong."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from tests.data.structures import backbone, mmcif, pdb

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDS = [
    b">a\nNLYIQWLKDG\n", b">b x\nnlyi*\n", b">\n\n", b">c\nAC1D\n", b"  >d\n MKV:MKV\n", b">x\nXXXX\n",
    b"id,sequence\na,MKV\n", b">q\nNLYIQWLKDG\n>h\nNL-IQWLkkKDG\n", b"# STOCKHOLM 1.0\nq NLY.IQ\nh N-YkIQ\n//\n",
    b"#3,4\t1,1\n>q\nMKV\n", b">ss_pred\nCHE\n", b"\0\1\2", b"\x1f\x8b\x08", b"\xff\xfe>\n", "é>ſ\nÄ\n".encode(),
    b"\r\n", b"PK\x03\x04", b"{}", b">e\nUUUUUUUUU\n", b">x\nMKV:NLY:MKV\n", b"#3\t2\n>101\nMKV\n>h\nM-V\n",
    b"#3,3\t2,1\n>101\t102\nMKVNLY\n>A_HUMAN\tB_HUMAN\nMK-NaLY\n>102\n---NLY\n", b">q\nMKV\n>A_HUMAN\nM-V\n",
]  # fmt: skip
ATOMS = [atom for k, name in enumerate(["ALA", "HSE", "ILE", "GLY"], 1) for atom in backbone(name, k)]
STRUCTURES = [pdb(ATOMS).encode(), pdb(ATOMS, ["TRP"]).encode(), mmcif(["ALA", "HIS", "ILE", "GLY"], ATOMS).encode()]
HEADS = ["{}", '{"__metadata__":{"model":"{\\"name\\":1}"}}', '{"__metadata__":{"model":"[[not json"}}', "[]"]
PARAMETERS = [len(head).to_bytes(8, "little") + head.encode() for head in HEADS]  # of safetensors
PARAMETERS += [b"", b"PK\x03\x04", b'{"files": [1]}', b"\x80\x04\x95"]
SHARDS = [(GOLDEN / "chains.npz").read_bytes()]
NUMBERS = ["-1", "0", "nan", "inf", "1e10", "1e400", "two", "", "1.5", "-0.0", "null", "[1]", "${x}"]
WORDS = ["", "none", "auto", "é", "a/../b", "-", "--", "=", "..", "nowhere/x", "2020-02-30", "cuda", "x" * 300, "a b"]
HUGE = "9" * 20
ALIGNMENTS = "x_A x_B x_B_paired x_A_uniprot x x/A/uniprot_hits x_D 0".split()  # of the record x, a complex


@dataclass(frozen=True)
class Case:
    """A command line, and the files that lie in its folder."""

    arguments: list[str]
    files: dict[str, bytes] = field(default_factory=dict, repr=False)  # some are long


def mutated(whole: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the files, whole, cut, or with bytes of it replaced."""
    cut = st.builds(lambda data, share: data[: int(len(data) * share)], st.sampled_from(whole), st.floats(0, 1))
    spoilt = st.builds(
        lambda data, share, patch: data[: (k := int(len(data) * share))] + patch + data[k + len(patch) :],
        st.sampled_from(whole), st.floats(0, 1), st.binary(min_size=1, max_size=8),
    )  # fmt: skip
    return st.one_of(st.sampled_from(whole), cut, spoilt)


TEXT = st.one_of(st.lists(st.sampled_from(RECORDS), max_size=3).map(b"".join), mutated(RECORDS), st.binary(max_size=30))
VALUES = st.sampled_from(NUMBERS + WORDS)
OPTIONS = {
    "fold": "num-models num-seeds random-seed num-recycle recycle-early-stop-tolerance rank-by relax msa-mode host-url "
    "max-template-date device precision dap memory-budget sort model weights library template-dir",
    "train": "config resume out",
    "bench": "seq-len msa-depth extra-depth blocks dtype device model only sweep json compare",
}
KEYS = {
    "fold": "num_recycle num_seeds random_seed rank_by templates model.msa.max_extra model.c_z model.name x x.y db "
    "model.heads.pae model.evoformer.blocks model.structure",
    "train": "steps batch_size micro_batch optimizer.rate optimizer.clip optimizer.matrices loss.pae sample.crop seed "
    "dap sample.templates checkpoint.every train.max_date train.kind train.relatives model.c_z start_from workers",
    "bench": "model.c_z model.msa.max_extra x num_recycle",
}
# For each option of `fold` that names a file: what it may hold, and its suffixes.
FILES = {
    "--msa": (TEXT, ".a3m .sto"),
    "--db": (TEXT, ".fasta"),
    "--template-hits": (TEXT, ".hhr .m8"),
    "--weights": (mutated(PARAMETERS + SHARDS), ".npz .safetensors .pt .ckpt .tar"),
    "--library": (mutated(SHARDS), ".npz"),
    "--template": (mutated(STRUCTURES), ".pdb .cif .cif.gz"),
}


@st.composite
def settings_of(draw: st.DrawFn, command: str) -> list[str]:
    """A few options and KEY=VALUE, with odd values."""
    options = draw(st.lists(st.tuples(st.sampled_from(OPTIONS[command].split()), VALUES), max_size=2))
    keys = draw(st.lists(st.tuples(st.sampled_from(KEYS[command].split()), VALUES), max_size=2))
    huge = draw(st.sampled_from([[], [], [f"{'random_seed' if command == 'fold' else 'seed'}={HUGE}"]]))
    return [*(f"--{name}={value}" for name, value in options), *(f"{key}={value}" for key, value in keys), *huge]


@st.composite
def folds(draw: st.DrawFn) -> Case:
    files = {(name := f"in{draw(st.sampled_from(['.fasta', '.a3m', '.csv', '.txt', '']))}"): draw(TEXT)}
    arguments = ["fold", name, "--out", "out"]
    for option in draw(st.lists(st.sampled_from(sorted(FILES)), max_size=2, unique=True)):
        content, suffixes = FILES[option]
        file = f"{option.strip('-')}{draw(st.sampled_from(suffixes.split()))}"
        files[file] = draw(content)
        arguments += [option, file]
    if "--msa" not in arguments and draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(ALIGNMENTS), max_size=3))
        files |= {f"msa/{name}{draw(st.sampled_from(['.a3m', '.sto']))}": draw(TEXT) for name in names}
        arguments += ["--msa", "msa"] if names else []
    model = draw(st.sampled_from(["tiny", "tiny_multimer"]))
    usual = f"--model {model} --weights untrained --num-recycle 0 --no-templates".split()
    more = draw(settings_of("fold")) if draw(st.booleans()) else []
    flags = draw(st.lists(st.sampled_from(["--skip-bad", "--json", "--overwrite"]), max_size=1))
    return Case([*arguments, *flags, *(usual if "--weights" not in arguments else usual[:2]), *more], files)


@st.composite
def trainings(draw: st.DrawFn) -> Case:
    shard = draw(mutated(SHARDS))
    usual = "train.shards=a.npz validation=null device=cpu steps=1 batch_size=1 micro_batch=1 sample.crop=8 workers=0"
    more = draw(settings_of("train")) or ["steps=0"]
    before = draw(st.sampled_from([{}, {"run/config.yaml": b"a: [\n"}, {"run": b""}, {"run/log.jsonl": b"[}\n"}]))
    return Case(["train", "--out", "run", *usual.split(), *more], {"a.npz": shard, **before})


@st.composite
def made_data(draw: st.DrawFn) -> Case:
    folder = {f"s/{draw(st.sampled_from(['1abc.cif', '1abc.pdb', '2xyz.cif.gz']))}": draw(mutated(STRUCTURES))}
    folder |= {"a/1abc_B/x.a3m": draw(TEXT), "c.txt": draw(TEXT), "x.npz": draw(mutated(SHARDS))}
    command = draw(st.sampled_from([
        "index --structures s --alignments a --workers 1", "chains s --workers 1 --alignments a -o y.npz",
        "chains s --workers 1 --clusters c.txt", "library x.npz -o y.npz --exclude c.txt", "chains nowhere",
        "relatives x.npz --library x.npz", "library x.npz x.npz", "chains s --workers 0",
    ]))  # fmt: skip
    return Case(["data", *command.split()], folder)


@st.composite
def parameter_files(draw: st.DrawFn) -> Case:
    names = "params_model_1.npz a.safetensors b.pt c.ckpt d.tar params_x_multimer.npz"
    name = draw(st.sampled_from(names.split()))
    command = draw(st.sampled_from([
        f"weights import {name}", f"weights import {name} --model model_2", "weights import nowhere", "weights list",
        "weights verify", "weights import . --model model_9", "weights import .", "weights download --url x", "doctor",
    ]))  # fmt: skip
    manifest = draw(st.sampled_from([b"", b"{}", b'{"files": [1]}', b'{"files": []}', b"[" * 9999, b"\xff"]))
    files = {name: draw(mutated(PARAMETERS + SHARDS)), "home/params/manifest.json": manifest}
    return Case(command.split(), files)


@st.composite
def benchmarks(draw: st.DrawFn) -> Case:
    """Never a whole measurement: one value is always refused."""
    command = draw(st.sampled_from([["modules"], ["train"], ["simulate"], ["autochunk"], ["counts"], []]))
    refused = draw(st.sampled_from(["--seq-len=0", "--seq-len=x", "--json=nowhere/x.json", "nokey=1"]))
    return Case(["bench", *command, refused, *draw(settings_of("bench"))])


CASES = st.one_of(folds(), folds(), folds(), trainings(), made_data(), parameter_files(), benchmarks())
