/* Where the voice is: the parts of a song in which the level of its vocals is high enough. */

const SILENT = -48; // dB below full scale: quieter is no voice
const BELOW = 30; // dB below the loudest column
const GAP = 0.5; // s: a shorter silence is a breath
const SHORTEST = 0.15; // s

/** Parts with voice as [{from, to}] in seconds; `level` is dB a column of `seconds` each. */
export function voiced(level, seconds) {
  const least = Math.max(SILENT, level.reduce((a, b) => Math.max(a, b), -120) - BELOW);
  const parts = [];
  level.forEach((db, column) => {
    if (db < least) return;
    const from = column * seconds;
    const last = parts.at(-1);
    if (last && from - last.to <= GAP) last.to = from + seconds;
    else parts.push({ from, to: from + seconds });
  });
  return parts.filter((part) => part.to - part.from >= SHORTEST);
}
