"""Checkpoints of public BS-RoFormers and Mel-Band RoFormers, with the yaml files that people have and without."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import golden_roformer
import pytest
import torch
import yaml
from golden_roformer import public_shapes

from bsmamba2.catalogue import Entry, entries
from bsmamba2.checkpoint import load, load_checkpoint
from bsmamba2.checkpoint.mel_bands import mel_bands
from bsmamba2.checkpoint.settings import settings_from
from bsmamba2.errors import CheckpointError, ConfigError
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.training.settings import config_of

SHAPES = public_shapes()


def checkpoint_of(folder, name, dtype=torch.float32):
    """A file with the tensors of a public network; each takes the room of one number."""
    tensors = {key: torch.full((), 0.5, dtype=dtype).expand(shape) for key, shape in SHAPES[name]["shapes"].items()}
    path = folder / f"{name}.ckpt"
    torch.save(tensors, path)
    return path


def yaml_of(name, **changes):
    """The yaml file of a public network as MSST has it. `changes` are of its section `model`."""
    config = SHAPES[name]["config"]
    stems = ["vocals", "other", "drums", "bass", "guitar", "piano"][: config.get("num_stems", 1)]
    return {
        "audio": {"chunk_size": 352800, "hop_length": 441, "sample_rate": 44100, "dim_f": 1024, "dim_t": 801},
        "model": {**config, **changes},
        "training": {"instruments": stems, "target_instrument": None, "batch_size": 3, "lr": 1.0e-05},
        "inference": {"batch_size": 1, "num_overlap": 4, "dim_t": 1101},
    }


def write(folder, content):
    path = folder / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("with_yaml", [True, False])
def test_public_networks_load_and_their_configuration_is_inferred(tmp_path, monkeypatch, name, with_yaml):
    monkeypatch.setattr(load, "as_float32", lambda state, where: dict(state))  # which looks at all numbers
    known = SHAPES[name]["config"]
    read = load_checkpoint(checkpoint_of(tmp_path, name), write(tmp_path, yaml_of(name)) if with_yaml else None)
    config, is_mel = read.config, "num_bands" in known
    assert read.parameters == SHAPES[name]["parameters"]
    assert (config.kind, config.dim, config.depth) == ("transformer", known["dim"], known["depth"])
    assert (config.heads, config.dim_head, config.time_depth, config.freq_depth) == (8, 64, 1, 1)
    assert config.mask_depth == known.get("mask_estimator_depth", 2) + is_mel
    assert config.mask_expansion == known.get("mlp_expansion_factor", 4)
    assert (config.channels, len(config.stems)) == (2 if known["stereo"] else 1, known.get("num_stems", 1))
    assert (bool(config.starts), config.block_norm) == (is_mel, is_mel)
    n_fft = known.get("stft_n_fft", 2048)
    assert (config.stft.n_fft, config.stft.win_length, config.stft.sample_rate) == (n_fft, n_fft, 44100)
    if with_yaml:
        assert config.stft.hop_length == known["stft_hop_length"]
        assert config.skip_connection == known.get("skip_connection", False)
        assert (read.chunk, read.overlaps, read.batch) == (352800, 4, 1)
    else:
        assert config.stft.hop_length == {2048: 441, 4096: 882}[n_fft]
        assert any(f"hop_length {config.stft.hop_length}" in note and "no zero_dc" in note for note in read.notes)
        assert read.chunk is None
    assert len(read.model().state_dict()) == len(SHAPES[name]["shapes"])


# checkpoint -> changes of its yaml file's model section that make it that of another network, and what is said.
# The pairings are those that users report to the projects that made these networks.
PAIRINGS = {
    "a yaml of depth 12": ("kim", {"depth": 12}, "model.depth is 12, the tensors have 6"),
    "another dim": ("kim", {"dim": 192}, "model.dim is 192, the tensors have 384"),
    "mask estimator too shallow": (
        *("big_beta5e", {"mask_estimator_depth": 2}),
        "model.mask_estimator_depth is 3 linear layers, the tensors have 4 linear layers",
    ),
    "a yaml with linear attention": (
        *("kim", {"linear_transformer_depth": 1}),
        "model.linear_transformer_depth is 1, the tensors have 0",
    ),
    "the default width of the mask estimator": (
        *("similarity", {"mlp_expansion_factor": 4}),
        "model.mlp_expansion_factor is 4, the tensors have 1",
    ),
    "mono and stereo": ("bs_mono_example", {"stereo": True}, "model.stereo is stereo, the tensors have mono"),
    "a yaml of one stem": ("duality", {"num_stems": 1}, "model.num_stems is 1, the tensors have 2"),
    "the wrong n_fft": (
        *("aname_large", {"stft_n_fft": 2048, "stft_win_length": 2048}),
        "n_fft is 2048, the tensors are for 4096",
    ),
    "a Mel-Band RoFormer's yaml": (
        *("ep_317", {"num_bands": 60}),
        "model is that of a Mel-Band RoFormer, the tensors are of a network of consecutive sub-bands",
    ),
    "a BS-RoFormer's yaml": (
        *(
            "kim",
            {"num_bands": None, "freqs_per_bands": [2] * 24 + [4] * 12 + [12] * 8 + [24] * 8 + [48] * 8 + [128, 129]},
        ),
        "model is that of a network of consecutive sub-bands, the tensors are of a Mel-Band RoFormer",
    ),
    "another number of mel bands": ("kim", {"num_bands": 64}, "model.num_bands is 64, the tensors have 60"),
    "two fields": (
        *("deverb_bs_384_10", {"dim": 256, "depth": 8}),
        "model.dim is 256, the tensors have 384; model.depth is 8, the tensors have 10: give the yaml of this",
    ),
}


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_yaml_of_another_network_is_refused_field_by_field(tmp_path, pairing):
    name, changes, message = PAIRINGS[pairing]
    path = checkpoint_of(tmp_path, name)
    content = yaml_of(name, **changes)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        load_checkpoint(path, write(tmp_path, content))
    line = str(error.value)
    assert line.startswith(f"{path}: the configuration ({tmp_path / 'config.yaml'}) belongs to another network: ")
    assert "\n" not in line and line.endswith("what the tensors tell is read from them")


def test_too_few_names_of_stems_are_refused(tmp_path):
    content = yaml_of("sw_6stems")
    content["training"]["instruments"] = ["vocals", "other"]
    with pytest.raises(ConfigError, match="training.instruments has 2 names, the tensors have 6 stems"):
        load_checkpoint(checkpoint_of(tmp_path, "sw_6stems"), write(tmp_path, content))


def test_the_older_count_of_linear_layers_is_known(tmp_path):
    """Code before PyPI's bs-roformer 0.3.5 called two linear layers depth 2; the same file has depth 1 today."""
    read = load_checkpoint(
        checkpoint_of(tmp_path, "msst_8.42"), write(tmp_path, yaml_of("msst_8.42", mask_estimator_depth=2))
    )
    assert read.config.mask_depth == 2
    assert "mask_estimator_depth counted as in older code: 2 linear layers" in read.notes


@pytest.mark.seconds
def test_files_in_half_precision_are_read_as_float32(tmp_path):
    read = load_checkpoint(checkpoint_of(tmp_path, "similarity", torch.float16))
    assert {value.dtype for value in read.state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("instruments", "target", "stems", "rest"),
    [
        (["vocals", "other"], "vocals", ("vocals",), "other"),
        (["other", "Vocals"], "other", ("other",), "vocals"),
        (["Vocals", "Instrumental"], "Instrumental", ("instrumental",), "vocals"),
        (["karaoke"], "karaoke", ("karaoke",), None),
        (["vocals", "drums", "bass"], "vocals", ("vocals",), None),
        (["vocals", "other"], None, ("vocals",), "other"),
        (None, "dry", ("dry",), None),
        (None, None, ("vocals",), None),
        (["Lead/Vocals", "rest"], "Lead/Vocals", ("lead_vocals",), "rest"),
    ],
)
def test_the_names_of_one_stem_and_of_the_rest(tmp_path, instruments, target, stems, rest):
    content = golden_roformer.configuration("bs_pope_d24_L2")
    content["training"] = {"instruments": instruments, "target_instrument": target}
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    read = load_checkpoint(tmp_path / "x.ckpt", write(tmp_path, content))
    assert (read.config.stems, read.rest) == (stems, rest)


def test_settings_of_the_command_line_win(tmp_path):
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    content = golden_roformer.configuration("bs_pope_d24_L2")
    before = copy.deepcopy(content)
    changes = {"model.stft_hop_length": "64", "model.zero_dc": "false", "training.target_instrument": "dry"}
    read = load_checkpoint(tmp_path / "x.ckpt", write(tmp_path, content), changes=changes)
    assert (read.config.stft.hop_length, read.config.zero_dc, read.config.stems) == (64, False, ("dry",))
    assert content == before
    alone = load_checkpoint(tmp_path / "x.ckpt", changes={"model.stft_hop_length": "64"})
    assert alone.config.stft.hop_length == 64 and alone.config.zero_dc  # PoPE is younger than zero_dc
    for key, value, message in (
        ("hop", "64", "expected SECTION.KEY"),
        ("model.stft_hop_length", "[", "not valid yaml"),
        ("model.stft_hop_length", "!!python/object/apply:os.system [x]", "not valid yaml"),
        ("model.zero_dc", "7", "expected true or false"),
        ("model.depth", "3", "model.depth is 3, the tensors have 2"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_checkpoint(tmp_path / "x.ckpt", changes={key: value})


YAML = """
defaults: &defaults
  dim: 24
  depth: 2
model:
  <<: *defaults
  stereo: true
  num_stems: 1
  heads: 2
  dim_head: 12
  freqs_per_bands: !!python/tuple
  - 257
  use_pope: true
  multi_stft_resolutions_window_sizes: !!python/tuple [4096, 2048]
  stft_n_fft: 512
  stft_hop_length: 128
training:
  instruments: [vocals, other]
  target_instrument: vocals
"""


def test_yaml_files_as_people_have_them(tmp_path):
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    bands = ", ".join(map(str, golden_roformer.facts("bs_pope_d24_L2")["model_config"]["freqs_per_bands"]))
    text = YAML.replace("\n  - 257", f" [{bands}]")
    read = load_checkpoint(tmp_path / "x.ckpt", write(tmp_path, text))
    assert (read.config.stft.hop_length, read.config.stems, read.rest) == (128, ("vocals",), "other")
    with pytest.raises(ConfigError, match=r"freqs_per_bands is 1 sub-bands .*, the tensors have 36 sub-bands"):
        load_checkpoint(tmp_path / "x.ckpt", write(tmp_path, YAML))


def test_the_section_audio_does_not_contradict_the_network(tmp_path):
    """A published file has hop 512 in `model` and 441 in `audio`, which its code does not use."""
    read = load_checkpoint(checkpoint_of(tmp_path, "sw_6stems"), write(tmp_path, yaml_of("sw_6stems")))
    assert read.config.stft.hop_length == 512


def test_mel_bands_of_other_rates():
    # First bins and widths of the original code for 60 bands of n_fft 2048 at 44100 Hz are in the golden data.
    starts, widths = mel_bands(32000, 1024, 32)
    assert starts[0] == 0 and starts[-1] + widths[-1] == 513
    assert mel_bands(44100, 2048, 400) is None  # narrower than a bin
    for name in golden_roformer.CASES:
        facts = golden_roformer.facts(name)
        if facts["kind"] == "mel":
            table = mel_bands(facts["sample_rate"], facts["stft"]["n_fft"], facts["model_config"]["num_bands"])
            assert [list(each) for each in zip(*table, strict=True)] == facts["bands_first_and_count"]


def test_sub_bands_of_no_known_stft_are_named(tmp_path):
    tensors = golden_roformer.state("mel40_pypi041_d12_L2")
    key = "band_split.to_features.3.0.gamma"
    tensors[key] = torch.ones(tensors[key].numel() + 4)
    torch.save(tensors, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="its 40 sub-bands are not the mel bands of any usual STFT"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_published_files_are_known_by_their_hash(tmp_path, monkeypatch):
    content = golden_roformer.configuration("bs_pope_d24_L2")
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    fields = {"kind": "bs_roformer", "stems": ("dry",), "note": "", "refused": None, "licence": "", "addresses": ()}
    fields |= {"bytes": 1, "sha256": "0" * 64}
    known = Entry("known", known=content, **fields)
    content["model"]["freqs_per_bands"] = "16x2 9x5 10x16 1x20"
    content["audio"]["chunk_size"] = 12800
    named = Entry("named", **fields)
    for entry, stem, hop, chunk in ((known, "stem 0", 128, 12800), (named, "dry", 128, None)):
        monkeypatch.setattr(load, "entry_of", lambda path, entry=entry: entry)
        read = load_checkpoint(tmp_path / "x.ckpt")
        assert read.notes[0] == f"configuration from the catalogue, where this file is {entry.name}"
        assert (read.config.stems, read.config.stft.hop_length, read.chunk) == ((stem,), hop, chunk)
    given = load_checkpoint(tmp_path / "x.ckpt", write(tmp_path, golden_roformer.configuration("bs_pope_d24_L2")))
    assert given.config.stems == ("stem 0",) and "catalogue" not in given.notes[0]


@pytest.mark.parametrize("entry", [each for each in entries() if each.known], ids=lambda entry: entry.name)
def test_known_configurations_describe_files_of_that_size(entry):
    """A file has four bytes for each parameter, and less than a megabyte of names."""
    stated = settings_from(entry.configuration(), entry.name)
    assert stated.inference["chunk_size"] % stated.stft["hop_length"] == 0 and stated.inference["num_overlap"] > 0
    several = tuple(f"stem {i}" for i in range(stated.stems))
    config = config_of(replace(stated, instruments=several, target=None))
    if entry.name == "mel-roformer-vocals-zfturbo":  # its configuration counts linear layers as older code did
        config = replace(config, mask_depth=config.mask_depth - 1)
    if "module_type" not in entry.configuration()["model"]:
        config = replace(config, kind="transformer")
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in BandSplitSeparator(config).parameters())
    assert 0 < entry.bytes - 4 * parameters < 1e6


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.mask_estimator_depth", "two", "model.mask_estimator_depth is 'two' linear layers, the tensors have 2"),
        ("model.mask_estimator_depth", "[[1]]", "model.mask_estimator_depth is a list linear layers"),
        ("inference.normalize", "true", "inference.normalize is set: songs are not normalized here"),
    ],
)
def test_odd_values_are_one_line(tmp_path, key, value, message):
    torch.save(golden_roformer.state("mel60_linear_d16_L2"), tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_checkpoint(tmp_path / "x.ckpt", changes={key: value})


def test_a_chunk_that_is_no_multiple_of_the_hop_is_noted(tmp_path):
    torch.save(golden_roformer.state("bs_pope_d24_L2"), tmp_path / "x.ckpt")
    changes = {"audio.chunk_size": "5000", "model.stft_hop_length": "128"}
    read = load_checkpoint(tmp_path / "x.ckpt", changes=changes)
    assert any("chunk_size 5000 is no multiple of the hop 128" in note for note in read.notes)
    assert any("no skip_connection" in note for note in read.notes)
