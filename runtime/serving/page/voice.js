/* Where the voice is: the parts of a song in which its vocals are loud rather than a rest of what else plays. */

const SILENT = -50; // dB below full scale: nothing quieter is a voice
const LOUD = 0.95; // the part of all columns that are quieter than a loud one
const RANGE = 40; // dB below a loud column that are looked at
const GAP = 0.5; // s: a shorter silence is a breath
const SHORTEST = 0.15; // s

/** Parts with voice as [{from, to}] in seconds; `level` is dB a column of `seconds` each. */
export function voiced(level, seconds) {
  const least = Math.max(SILENT, threshold(level));
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

/**
 * The level that splits the columns into a loud and a quiet class whose means are farthest apart (Otsu's method), so
 * that it lies high where the vocals hold a rest of the other instruments, and low where they are clean.
 */
function threshold(level) {
  const sorted = Float32Array.from(level).sort();
  const loud = sorted[Math.floor(LOUD * (sorted.length - 1))];
  const values = sorted.map((db) => Math.min(loud, Math.max(loud - RANGE, db)));
  const sum = values.reduce((a, b) => a + b, 0);
  let [below, most, found] = [0, 0, loud - RANGE];
  for (let count = 1; count < values.length; count += 1) {
    below += values[count - 1];
    const apart = below / count - (sum - below) / (values.length - count);
    const score = count * (values.length - count) * apart * apart;
    if (score > most) [most, found] = [score, (values[count - 1] + values[count]) / 2];
  }
  return found;
}
