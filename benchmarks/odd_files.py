"""Odd sound files of many programs through bsm-run: what is read exactly, what with a note, what is refused.

    python benchmarks/odd_files.py ENGINE [--only WORD] [--keep DIR]

The files of `odd/files.txt` are made in a temporary folder (or DIR, which is kept) and separated by one bsm-run. Of a
whole file vocals + instrumental must be the song: without loss, the same samples to one step of their type, or 1e-6 in
float; else as long as the song, and alike in each channel. A file of which a part is missing must be refused or get a
note; what holds no sound, or is of a format that nothing here reads, must be refused. Prints a row for each kind of
file, then each violation; exit code 1 if there is any. Programs that are not installed are named, and their files left
out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).parent / "odd"
PROGRAMS = (
    *("ffmpeg", "sox", "lame", "flac", "metaflac", "opusenc", "opusdec", "oggenc", "oggdec", "vorbiscomment"),
    *("oggz-merge", "oggz-chop", "gst-launch-1.0", "mpg123", "twolame", "faad", "mplayer", "espeak-ng", "wavpack"),
    *("wvunpack", "mkvmerge", "mkvpropedit"),
)
FUNCTIONS = """
ff() { ffmpeg -nostdin -v error -y "$@"; }
enc() { ff -i $S "$@" $O; }
vid() { ff $V -i $S "$@" $O; }
gst() { timeout 60 gst-launch-1.0 -q filesrc location=$S ! wavparse ! "$@" ! filesink location=$O; }
edit() { $EDIT $O "$@"; }
set -eo pipefail
"""
SHORT = {"enc": "ffmpeg", "vid": "ffmpeg", "ff": "ffmpeg", "gst": "gst-launch-1.0"}
NAMES = {
    "EDIT": f"{sys.executable} {HERE / 'edits.py'}",
    "V": "-f lavfi -i testsrc=d=3:s=64x48:r=10",
}
SECONDS = 1.5
SUBTYPES = {"8": "PCM_U8", "12": "PCM_16", "20": "PCM_24", "f": "FLOAT", "d": "DOUBLE"}
STEPS = {"PCM_S8": 2**-7, "PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-31}
STATES = ("part", "silent", "unknown")  # else whole


@dataclass
class Odd:
    """A line of files.txt, for one of its names."""

    kind: str
    name: str
    song: str
    expected: list[str]
    make: str
    reference: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "files" / re.sub(r"\W+", "_", self.kind) / self.name

    @property
    def compared(self) -> Path:
        """What vocals + instrumental are compared with."""
        return self.folder / "songs" / f"{self.path.parent.name}_{self.name}.wav"

    @property
    def state(self) -> str:
        return self.expected[0] if self.expected[0] in STATES else "whole"

    @property
    def alike(self) -> float | None:
        """The least correlation of a channel with the song's; None where nothing may be lost."""
        return None if self.expected[0] == "=" else float(self.expected[0][1:] or 0.98)

    @property
    def longer(self) -> int:
        """Samples that the encoder may add."""
        return sum(int(each) for each in self.expected if each[0] == "+")

    @property
    def programs(self) -> set[str]:
        words = re.findall(r"[\w.-]+", f"{self.make} {self.reference}")
        return {SHORT.get(word, word) for word in words} & set(PROGRAMS)

    def build(self) -> str:
        """Make the file, and what it is compared with; returns why it could not be made."""
        first = song_file(self.folder, self.song, 0)
        other = next((each[2:] for each in self.expected if each.startswith("T:")), self.song)
        files = {"S": first, "T": song_file(self.folder, other, 1), "O": self.path, "R": self.compared}
        self.path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            for commands in (self.make, self.reference or "ln -s $S $R"):
                done = subprocess.run(  # noqa: S603
                    ["bash", "-c", FUNCTIONS + commands],  # noqa: S607
                    cwd=work,
                    env={**os.environ, **NAMES, **{name: str(path) for name, path in files.items()}},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    check=False,
                )
                if done.returncode:
                    return (done.stderr.strip().splitlines() or ["failed"])[-1]
        return "" if self.path.exists() else "nothing was written"

    def judge(self, line: dict) -> tuple[str, str]:
        """What became of the file, by its line in the journal of bsm-run, and what is wrong with that."""
        if line["status"] == "failed":
            return "refused", f"refused: {line['error']}" if self.state == "whole" else ""
        result = "with a note" if line["notes"] else "exactly"
        if self.state == "whole":
            return result, self.difference(line)
        if self.state == "part":
            return result, "" if line["notes"] else "a part is missing, and nothing was said"
        return result, "taken for sound"

    def difference(self, line: dict) -> str:
        """How the stems of a whole file differ from the song."""
        stems = list(line["stems"].values())
        found, rate = (
            sum(soundfile.read(path, always_2d=True)[0] for path in stems),
            soundfile.info(stems[0]).samplerate,
        )
        wanted, wanted_rate = soundfile.read(self.compared, always_2d=True)
        if (rate, found.shape[1]) != (wanted_rate, wanted.shape[1]):
            return f"{rate} Hz, {found.shape[1]} channels instead of {wanted_rate} Hz, {wanted.shape[1]} channels"
        more = len(found) - len(wanted)
        if not 0 <= more <= self.longer:
            return f"{len(found)} samples instead of {len(wanted)}"
        found /= line["gain"]
        if self.alike is None:
            error = np.abs(found[: len(wanted)] - wanted).max()
            step = STEPS.get(soundfile.info(stems[0]).subtype, 1e-6)
            return "" if error <= 1.01 * step / line["gain"] else f"a sample is off by {error:.2g}"
        wanted = np.vstack([wanted, np.zeros((more, wanted.shape[1]))])
        spectra = [np.fft.rfft(each, 2 * len(each), axis=0) for each in (found, wanted)]
        late = int(np.fft.irfft((spectra[0] * spectra[1].conj()).sum(axis=1))[: self.longer + 1].argmax())
        for channel, (one, other) in enumerate(zip(found.T, np.roll(wanted, late, axis=0).T, strict=True), 1):
            alike = np.corrcoef(one, other)[0, 1]
            if not alike >= self.alike:
                return f"channel {channel}: a correlation of {alike:.3f} with the song, {late} samples late"
        return ""


def read_table(folder: Path) -> Iterator[Odd]:
    kind, songs = "", {}
    for line in (HERE / "files.txt").read_text().splitlines():
        if line.startswith("== "):
            kind = line[3:]
        elif line and not line.startswith("#"):
            name, song, *rest = line.split(maxsplit=3)
            if not rest:
                songs[name] = song
                continue
            variants = re.search(r"{(.*?)}", name)
            for variant in variants[1].split(",") if variants else [""]:
                fields = [part.replace("@", variant) for part in (song, *rest)]
                make, _, reference = fields[2].partition(" => ")
                expected = fields[1].split(",")
                expected = [f"T:{songs.get(each[2:], each[2:])}" if each[:2] == "T:" else each for each in expected]
                full = name.replace(variants[0], variant.replace("/", "_")) if variants else name
                yield Odd(kind, full, songs.get(fields[0], fields[0]), expected, make, reference, folder)


def song_file(folder: Path, song: str, seed: int) -> Path:
    """A WAV file of notes of other tones in each channel, low ones where there are more than two."""
    rate, channels, bits = (int(part) if part.isdigit() else part for part in song.split("/"))
    path = folder / "songs" / f"{rate}_{channels}_{bits}_{seed}.wav"
    if path.exists():
        return path
    samples = int(SECONDS * rate) + 11
    time, random = np.arange(samples) / rate, np.random.default_rng(seed)
    sound = 0.002 * random.standard_normal((samples, channels))
    for channel in range(channels):
        low, high = (100, min(3000, 0.3 * rate)) if channels < 3 else (25 * (channel + 1), 25 * (channel + 1) + 1)
        for start in np.arange(0, SECONDS, 0.25):
            envelope = np.clip((time - start) * 50, 0, 1) * np.exp(-np.maximum(0, time - start) * 8)
            for tone in random.uniform(low, high, 4):
                sound[:, channel] += 0.06 * envelope * np.sin(2 * np.pi * tone * time)
    if isinstance(bits, int):
        sound = np.round(sound * 2 ** (bits - 1)) / 2 ** (bits - 1)
    soundfile.write(path, sound, rate, subtype=SUBTYPES.get(str(bits), f"PCM_{bits}"))
    return path


def separate(engine: Path, files: list[Path], folder: Path) -> dict[Path, dict]:
    """The line of each file in the journal of bsm-run."""
    journal = folder / "journal.jsonl"
    journal.unlink(missing_ok=True)
    command = [sys.executable, "-m", "runtime.cli", engine, *files, "-o", folder / "stems", "--overwrite"]
    command += ["--channels", "pairs", "--manifest", journal]
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    if done.returncode not in (0, 2) or not journal.exists():
        sys.exit(f"bsm-run ended with {done.returncode}: {done.stderr.decode()[-1000:]}")
    return {Path(line["song"]): line for line in map(json.loads, journal.read_text().splitlines())}


def print_table(counts: dict[str, Counter]) -> None:
    columns = [f"whole {how}" for how in ("exactly", "with a note", "refused")]
    columns += ["part with a note", "part refused", "silent refused", "unknown refused"]
    heads = " | ".join(columns).replace("silent", "no sound").replace("unknown", "unknown format")
    print(f"| kind | files | {heads} |\n|{' --- |' * (len(columns) + 2)}")
    for kind, count in {**counts, "all": sum(counts.values(), Counter())}.items():
        print(f"| {kind} | {count['files']} | {' | '.join(str(count[column]) for column in columns)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--only", default="", help="Only files with this word in their kind or name.")
    parser.add_argument("--keep", type=Path, help="Make the files in this folder, and keep them.")
    args = parser.parse_args()
    missing = {name for name in PROGRAMS if shutil.which(name) is None}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.keep or Path(temporary)).absolute()
        for name in ("files", "songs"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir(parents=True)
        chosen = [odd for odd in read_table(folder) if args.only in f"{odd.kind} {odd.name}"]
        names = Counter(odd.path for odd in chosen)
        if max(names.values(), default=0) != 1:
            sys.exit(f"files of one name, or none: {names.most_common(1)}")
        left_out = {}
        for odd in chosen:
            lacking = odd.programs & missing
            if why := f"needs {', '.join(lacking)}" if lacking else odd.build():
                left_out[odd.path] = why
        made = [odd for odd in chosen if odd.path not in left_out]
        lines = separate(args.engine, [odd.path for odd in made], folder)
        counts, violations = defaultdict(Counter), []
        for odd in made:
            result, wrong = odd.judge(lines[odd.path])
            counts[odd.kind] += Counter(["files", f"{odd.state} {result}"])
            violations += [f"{odd.name} ({odd.kind}): {wrong}"] if wrong else []
    print_table(counts)
    print(f"made with {', '.join(sorted(set().union(*(odd.programs for odd in made))))}")
    print(f"not installed: {', '.join(sorted(missing)) or 'none'}")
    for path, why in left_out.items():
        print(f"left out: {path.name}: {why}")
    for violation in violations:
        print(f"VIOLATION: {violation}")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
