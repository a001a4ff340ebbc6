// Runs before the first paint, so that a dark page never flashes white. Storage can be forbidden: then nothing is kept.
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("credence-theme") || "auto";
  } catch {
    theme = "auto";
  }
  document.documentElement.dataset.theme = theme;
})();
