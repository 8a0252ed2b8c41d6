// Puts on the theme that was chosen before anything is drawn; a module would come too late.
(() => {
  try {
    const theme = localStorage.getItem("console.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system's theme holds.
  }
})();
