// Sets the colours before the first paint: the kept choice, else what the system prefers.
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* private window: not kept */ } };
  const current = () => kept() ?? (system.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.bsTheme = current();
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    keep(current() === "dark" ? "light" : "dark");
    apply();
  });
})();
