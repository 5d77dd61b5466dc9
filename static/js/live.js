// Fragments that the page asks for again and again: says what is new, and when the server does not answer.
(() => {
  "use strict";
  const announcement = document.getElementById("announcement");

  const announce = (text) => {
    if (text && announcement.textContent !== text) announcement.textContent = text;
  };

  // A region that is replaced every two seconds would be read aloud every two seconds: only its summary is, once.
  document.addEventListener("htmx:afterSettle", (event) => {
    const summary = event.target.closest("[data-announce]") ?? event.target.querySelector?.("[data-announce]");
    announce(summary?.dataset.announce);
    document.body.classList.remove("is-offline");
  });

  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 404) location.reload();
    if (event.detail.xhr.status >= 500) offline();
  });
  document.addEventListener("htmx:sendError", () => offline());

  function offline() {
    document.body.classList.add("is-offline");
    announce("The server does not answer. The page tries again by itself.");
  }
})();
