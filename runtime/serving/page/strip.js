/* A strip of the song along time: where it is pressed the song goes, where it is dragged across it loops. */

const DRAG = 6; // pixels that make a drag of a press

/** `seek(part)` and `loop(from, to)` are called with parts of the song, 0 to 1. */
export function touchable(strip, { seek, loop }) {
  let start = null;
  const part = (event) => {
    const box = strip.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const dragged = (event) => Math.abs(event.clientX - start.x) >= DRAG;
  strip.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    start = { x: event.clientX, part: part(event) };
    strip.setPointerCapture(event.pointerId);
  });
  strip.addEventListener("pointermove", (event) => {
    if (start && dragged(event)) loop(Math.min(start.part, part(event)), Math.max(start.part, part(event)), false);
  });
  strip.addEventListener("pointerup", (event) => {
    if (!start) return;
    const from = start.part;
    if (dragged(event)) loop(Math.min(from, part(event)), Math.max(from, part(event)), true);
    else seek(part(event));
    start = null;
  });
  strip.addEventListener("pointercancel", () => (start = null)); // the page is being scrolled
}
