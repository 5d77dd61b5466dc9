// Sends the upload form to the address it has anyway, and shows how far it is.
(() => {
  "use strict";
  const MB = 1024 * 1024;

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-upload]");
    if (!form) return;
    event.preventDefault();
    send(form, form.querySelector("input[type=file]").files[0]);
  });

  function send(form, file) {
    const view = progressOf(form);
    const limit = Number(form.dataset.maxMb) * MB;
    if (file.size > limit) {
      view.say(`The archive has ${megabytes(file.size)}; at most ${megabytes(limit)} are allowed.`);
      return;
    }
    const request = new XMLHttpRequest();
    const started = performance.now();
    request.upload.addEventListener("progress", ({ loaded, total }) => view.move(loaded, total, performance.now() - started));
    request.upload.addEventListener("load", () => view.say("Uploaded. The server checks the archive…"));
    request.addEventListener("load", () => finish(request, view));
    request.addEventListener("error", () => view.stop("The connection broke. Check the network and upload again."));
    request.addEventListener("abort", () => view.stop("Stopped. Nothing was kept."));
    view.start(() => request.abort());
    request.open("POST", form.action);
    request.send(new FormData(form));
  }

  // The browser has followed the redirect to the new data set; a refusal is the same page with the reasons.
  function finish(request, view) {
    if (request.status < 400) {
      location.assign(request.responseURL);
      return;
    }
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const area = page.getElementById("form-area");
    if (area) document.getElementById("form-area").replaceWith(area);
    else view.stop(page.querySelector("main")?.innerText.trim() || `The server refused the upload (${request.status}).`);
    window.scrollTo({ top: 0 });
  }

  function progressOf(form) {
    const area = form.querySelector("[data-upload-progress]");
    const bar = area.querySelector(".progress");
    const text = area.querySelector("[data-upload-text]");
    const button = form.querySelector("button:not([type=button])");
    const abort = area.querySelector("[data-upload-abort]");
    const say = (words) => { area.hidden = false; text.textContent = words; };
    return {
      say,
      start(onAbort) {
        abort.onclick = onAbort;
        abort.hidden = false;
        button.disabled = true;
        bar.hidden = false;
        say("Uploading…");
      },
      move(loaded, total, elapsed_ms) {
        const percent = Math.round((100 * loaded) / total);
        bar.setAttribute("aria-valuenow", percent);
        bar.firstElementChild.style.width = `${percent}%`;
        const rate = loaded / Math.max(elapsed_ms, 1);
        const left_s = Math.round((total - loaded) / rate / 1000);
        say(`${megabytes(loaded)} of ${megabytes(total)}${loaded < total && elapsed_ms > 2000 ? `, ${left_s} s left` : ""}`);
      },
      stop(words) {
        button.disabled = false;
        abort.hidden = true;
        bar.hidden = true;
        say(words);
      },
    };
  }

  function megabytes(bytes) {
    return `${(bytes / MB).toFixed(bytes < 10 * MB ? 1 : 0)} MiB`;
  }
})();
