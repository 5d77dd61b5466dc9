// Sends the archive piece by piece (tus 1.0.0), so that it can be paused, survives a lost network and a reload, and then
// posts the form with the number of the upload instead of the file.
(() => {
  "use strict";
  const MB = 1024 * 1024;
  const PIECE = 8 * MB;
  const TUS = { "Tus-Resumable": "1.0.0" };
  const LONGEST_PAUSE_MS = 30_000;

  for (const form of document.querySelectorAll("form[data-upload]")) new Upload(form);

  function Upload(form) {
    const token = form.querySelector("[name=csrf_token]").value;
    const input = form.querySelector("input[type=file]");
    const view = viewOf(form);
    let file = null, url = null, isPaused = false, request = null, started_ms = 0, started_at = 0;

    input.addEventListener("change", offer);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      begin();
    });
    view.pause.addEventListener("click", () => (isPaused ? resume() : pause()));
    view.discard.addEventListener("click", discard);

    const key = () => `upload:${file.name}:${file.size}:${file.lastModified}`;

    // Says so where a part of the chosen file is here already.
    async function offer() {
      file = input.files[0];
      url = file && recall(key());
      if (!url) return;
      const offset = await reached();
      if (offset === null) return forget(key());
      view.say(`${percent(offset, file.size)} of ${file.name} ${offset ? "is here already" : "was begun"}. “Upload” goes on from there.`);
      view.discard.hidden = false;
    }

    async function begin() {
      file = input.files[0];
      const limit = Number(form.dataset.maxMb) * MB;
      if (file.size > limit) return view.say(`The archive has ${megabytes(file.size)}; at most ${megabytes(limit)} are allowed.`);
      isPaused = false;
      view.start();
      url = recall(key());
      let offset = url ? await reached() : null;
      if (offset === null) {
        url = await create();
        if (!url) return;
        remember(key(), url);
        offset = 0;
      }
      started_ms = performance.now();
      started_at = offset;
      await send(offset);
    }

    async function create() {
      const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name)));
      const headers = { ...TUS, "X-CSRFToken": token, "Upload-Length": file.size, "Upload-Metadata": `filename ${name}` };
      try {
        const answer = await fetch(form.dataset.upload, { method: "POST", headers });
        if (answer.status === 201) return new URL(answer.headers.get("Location")).pathname;
        view.stop(await reasonOf(answer));
      } catch {
        view.stop("The server does not answer. Check the network and try again.");
      }
      return null;
    }

    // Where the server stands; null where it knows the upload no more. Waits while nobody answers.
    async function reached() {
      for (let pause_ms = 1000; ; pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS)) {
        try {
          const answer = await fetch(url, { method: "HEAD", headers: TUS, cache: "no-store" });
          if (answer.ok) return Number(answer.headers.get("Upload-Offset"));
          if (answer.status < 500) return null;
        } catch { /* the network is away */ }
        view.say(`The server does not answer. The next try is in ${pause_ms / 1000} s; nothing is lost.`);
        await new Promise((resolve) => setTimeout(resolve, pause_ms));
        if (isPaused) return null;
      }
    }

    async function send(offset) {
      let pause_ms = 1000;
      while (offset < file.size && !isPaused) {
        const status = await piece(offset);
        if (isPaused) return;
        if (status === 413 || status === 403 || status === 401) return view.stop(`The server refused the upload (${status}).`);
        if (status >= 500) {
          view.say(`The server cannot take more now (${status}). The next try is in ${pause_ms / 1000} s; nothing is lost.`);
          await new Promise((resolve) => setTimeout(resolve, pause_ms));
          pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS);
          if (isPaused) return;
        } else pause_ms = 1000;
        offset = status === 204 ? Math.min(offset + PIECE, file.size) : await reached();
        if (offset === null) {
          if (isPaused) return;
          forget(key());
          return view.stop("The server does not know this upload any more. Begin again.");
        }
      }
      if (!isPaused) finish();
    }

    function piece(offset) {
      return new Promise((resolve) => {
        request = new XMLHttpRequest();
        request.upload.addEventListener("progress", ({ loaded }) => view.move(offset + loaded, file.size, started_at, performance.now() - started_ms));
        request.addEventListener("load", () => resolve(request.status));
        for (const event of ["error", "abort", "timeout"]) request.addEventListener(event, () => resolve(0));
        request.open("PATCH", url);
        const headers = { ...TUS, "X-CSRFToken": token, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
        for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
        request.send(file.slice(offset, offset + PIECE));
      });
    }

    function pause() {
      isPaused = true;
      request?.abort();
      view.paused();
    }

    function resume() {
      begin();
    }

    async function discard() {
      isPaused = true;
      request?.abort();
      if (url) await fetch(url, { method: "DELETE", headers: { ...TUS, "X-CSRFToken": token } }).catch(() => null);
      if (file) forget(key());
      url = null;
      view.stop("Discarded. Nothing was kept.");
      view.discard.hidden = true;
    }

    // The browser follows the redirect to the new data set; a refusal is the same page with the reasons.
    function finish() {
      view.say("Uploaded. The server checks the archive…");
      const values = new FormData(form);
      values.delete("archive");
      values.set("upload", url.split("/").pop());
      const answer = new XMLHttpRequest();
      answer.addEventListener("load", () => {
        if (answer.status < 400) {
          forget(key());
          location.assign(answer.responseURL);
          return;
        }
        const page = new DOMParser().parseFromString(answer.responseText, "text/html");
        const area = page.getElementById("form-area");
        if (area) {
          document.getElementById("form-area").replaceWith(area);
          new Upload(document.querySelector("form[data-upload]"));
        } else view.stop(page.querySelector("main")?.innerText.trim() || `The server refused the upload (${answer.status}).`);
        window.scrollTo({ top: 0 });
      });
      answer.addEventListener("error", () => view.stop("The connection broke. Press Upload again; nothing is lost."));
      answer.open("POST", form.action);
      answer.send(values);
    }
  }

  function viewOf(form) {
    const area = form.querySelector("[data-upload-progress]");
    const bar = area.querySelector(".progress");
    const text = area.querySelector("[data-upload-text]");
    const button = form.querySelector("button:not([type=button])");
    const pause = area.querySelector("[data-upload-pause]");
    const discard = area.querySelector("[data-upload-discard]");
    const say = (words) => { area.hidden = false; text.textContent = words; };
    return {
      pause, discard, say,
      start() {
        button.disabled = true;
        pause.hidden = discard.hidden = bar.hidden = false;
        pause.textContent = "Pause";
        say("Uploading…");
      },
      move(sent, total, from, elapsed_ms) {
        bar.setAttribute("aria-valuenow", Math.round((100 * sent) / total));
        bar.firstElementChild.style.width = percent(sent, total);
        const rate = (sent - from) / Math.max(elapsed_ms, 1);
        const left_s = Math.round((total - sent) / rate / 1000);
        const speed = elapsed_ms > 2000 && sent < total ? `, ${megabytes(rate * 1000)}/s, ${left_s} s left` : "";
        say(`${megabytes(sent)} of ${megabytes(total)}${speed}`);
      },
      paused() {
        pause.textContent = "Resume";
        say("Paused. What was sent is kept, also when you leave this page.");
      },
      stop(words) {
        button.disabled = false;
        pause.hidden = bar.hidden = true;
        say(words);
      },
    };
  }

  async function reasonOf(answer) {
    const problem = await answer.json().catch(() => null);
    return problem?.detail ?? `The server refused the upload (${answer.status}).`;
  }

  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const remember = (key, url) => { try { localStorage.setItem(key, url); } catch { /* private window: no resuming */ } };
  const forget = (key) => { try { localStorage.removeItem(key); } catch { /* nothing was kept */ } };
  const percent = (part, whole) => `${Math.round((100 * part) / whole)}%`;
  const megabytes = (bytes) => `${(bytes / MB).toFixed(bytes < 10 * MB ? 1 : 0)} MiB`;
})();
