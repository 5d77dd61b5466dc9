// Fills the form with the values of a preset.
(() => {
  "use strict";
  const fill = (form, values) => {
    for (const [name, value] of Object.entries(values)) {
      const input = form.elements.namedItem(name);
      if (!input) continue;
      if (input.type === "checkbox") input.checked = value;
      else input.value = value ?? "";
      input.classList.remove("is-invalid");
    }
    form.dispatchEvent(new Event("change", { bubbles: true }));
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-preset]");
    if (!button) return;
    fill(button.closest("form"), JSON.parse(button.dataset.preset));
    for (const other of document.querySelectorAll("[data-preset]")) other.setAttribute("aria-pressed", String(other === button));
  });
})();
