// The slider under an image and its map: how strongly the map covers the image.
(() => {
  "use strict";
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-opacity]")) return;
    const figure = event.target.closest("[data-overlaid]");
    figure.style.setProperty("--opacity", `${event.target.value}%`);
    figure.querySelector("output").textContent = `${event.target.value}\u00a0%`;
  });
})();
