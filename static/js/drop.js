// Shows the chosen image, and takes one that is dropped.
(() => {
  "use strict";
  const form = document.querySelector("[data-drop]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const zone = input.closest("label");
  const preview = form.querySelector("[data-drop-preview]");
  const hint = form.querySelector("[data-drop-hint]");
  let url = null;

  const show = () => {
    if (url) URL.revokeObjectURL(url);
    const file = input.files[0];
    url = file ? URL.createObjectURL(file) : null;
    preview.hidden = !file;
    hint.hidden = Boolean(file);
    if (url) preview.src = url;
  };

  // A format that the browser cannot draw (TIFF, PPM) is named instead.
  preview.addEventListener("error", () => {
    preview.hidden = true;
    hint.hidden = false;
    hint.querySelector("strong").textContent = input.files[0]?.name ?? "";
  });
  input.addEventListener("change", show);
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("is-over", kind === "dragenter" || kind === "dragover");
    });
  }
  zone.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    show();
  });
  show(); // the browser may have kept the choice over a reload
})();
