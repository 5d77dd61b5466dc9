// Fills the form with the values of a preset.
(() => {
  "use strict";
  const buttons = document.querySelectorAll("[data-preset]");

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

  for (const button of buttons) {
    button.addEventListener("click", () => {
      fill(button.closest("form"), JSON.parse(button.dataset.preset));
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
  }
})();
