/* Numbers in words, as the page shows them. */

/** `seconds` as 3:07 or 1:02:09. */
export function time(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  if (whole < 3600) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two(minutes)}:${two(whole % 60)}`;
}

/** `seconds` as "40 s", "5 min" or "3 hours". */
export function about(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} hours`;
}

export const percent = (part) => `${Math.round(100 * part)} %`;

export function size(bytes) {
  const mega = bytes / 2 ** 20; // as the server's option counts them
  if (mega < 1) return `${Math.max(1, Math.round(bytes / 1024))} kB`;
  return mega < 1024 ? `${mega.toFixed(mega < 10 ? 1 : 0)} MB` : `${(mega / 1024).toFixed(1)} GB`;
}

/** "lead_vocals" as "Lead vocals". */
export function title(name) {
  const spaced = name.replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
