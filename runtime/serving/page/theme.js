/* Light or dark: as the system says until the user says otherwise. */

const KEY = "theme";

/** `button` switches; `changed` is called when the colours are others. */
export function bindTheme(button, changed) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    changed();
  };
  const kept = read();
  if (kept) root.dataset.theme = kept;
  button.onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    write(root.dataset.theme);
    show();
  };
  system.addEventListener("change", show);
  show();
}

// A browser may refuse storage; then the choice lasts as long as the page.
function read() {
  try {
    const kept = localStorage.getItem(KEY);
    return ["light", "dark"].includes(kept) ? kept : null;
  } catch {
    return null;
  }
}

function write(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // as above
  }
}
