/* The keys of the player, wherever the focus is, unless what has the focus uses the key itself. */

const STEP = 5; // s

export function bindKeys(player, dialog, help) {
  help.onclick = () => dialog.showModal();
  const keys = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.step(-STEP),
    ArrowRight: () => player.step(STEP),
    Home: () => player.seek(0),
    v: () => player.nextVoice(),
    "[": () => player.loopFrom(),
    "]": () => player.loopTo(),
    l: () => player.toggleLoop(),
  };
  document.addEventListener("keydown", (event) => {
    if (!player.isOpen || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return;
    const { target } = event;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    if (event.key === " " && target.matches("button, a, summary, label")) return;
    if (target.matches("input[type=range]") && /^(Arrow|Home)/.test(event.key)) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit) player.press(Number(digit[1]) - 1, event.shiftKey ? "isSolo" : "isMuted");
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
  });
}
