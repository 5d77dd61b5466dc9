// Draws the charts of a page. The data lies in <script type="application/json" data-chart-of="ID">;
// a fragment that brings new data redraws its chart in place, so nothing flickers.
(() => {
  "use strict";
  // Okabe and Ito's colours, which people with any colour vision tell apart; the order fits each background.
  const COLORS = {
    light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A6A00", "#444444"],
    dark: ["#56B4E9", "#E69F00", "#3FC79A", "#CC79A7", "#F0E442", "#BBBBBB"],
  };
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]; // a second sign beside colour
  const HEIGHT = 320;
  const LONGEST_LABEL = 28; // characters
  const drawn = new Map();

  // Plotly reads tags and links in a text: a name is to stay a name, and to leave room for the bars.
  function label(name) {
    const signs = Array.from(name); // an emoji is one sign
    const short = signs.length > LONGEST_LABEL ? signs.slice(0, LONGEST_LABEL - 1).join("") + "…" : name;
    return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  }

  // A line where another worker took the run up: before the first epoch of each later attempt.
  function attemptsOf(data) {
    const places = (data.attempts || []).map((epoch) => epoch - 0.5);
    return {
      shapes: places.map((x) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: "#888", dash: "dot", width: 1 } })),
      annotations: places.map((x) => ({ x, y: 1, yref: "paper", yanchor: "bottom", text: "resumed", showarrow: false, font: { size: 10 } })),
    };
  }

  // The trials of a search as points: finished ones filled, those that were given up hollow.
  function trials(points, place, colors) {
    return [["finished", "Finished", "circle"], ["pruned", "Given up", "circle-open"]].map(([state, name, symbol], i) => {
      const some = points.filter((point) => point.state === state);
      return {
        x: some.map(place), y: some.map((point) => point.score), customdata: some.map((point) => point.number), name, mode: "markers",
        marker: { color: colors[i ? 5 : 0], size: 8, symbol }, hovertemplate: "trial %{customdata}: %{y:.3f} at %{x}<extra></extra>",
      };
    }).filter((trace) => trace.x.length);
  }

  const kinds = {
    curves(data, colors) {
      if (!data.epochs.length) return null;
      const lines = data.lines.filter((line) => line.values.some((value) => value !== null));
      const isShare = lines.every((line) => line.values.every((value) => value <= 1));
      return {
        traces: lines.map((line, i) => ({
          x: data.epochs, y: line.values, name: line.name, mode: data.epochs.length < 40 ? "lines+markers" : "lines",
          line: { color: colors[i], dash: DASHES[i], width: 2 }, marker: { size: 5 },
        })),
        layout: {
          xaxis: { title: { text: "Epoch" }, tickformat: "d", ...(data.epochs.length < 10 && { dtick: 1 }) },
          yaxis: { rangemode: "normal", ...(isShare && { autorangeoptions: { clipmax: 1.005 } }) },
          ...attemptsOf(data),
        },
      };
    },

    rates(data, colors) {
      const at = data.rates.findIndex((rate) => rate >= data.suggested_rate * 0.99); // it is rounded
      return {
        traces: [
          { x: data.rates, y: data.losses, name: "Loss of the batch", mode: "markers", marker: { color: colors[5], size: 4, opacity: 0.5 } },
          { x: data.rates, y: data.smoothed, name: "Smoothed", mode: "lines", line: { color: colors[0], width: 2.5 } },
          ...(data.suggested_rate ? [{
            x: [data.suggested_rate], y: [data.smoothed[at]], name: "Suggested", mode: "markers",
            marker: { color: colors[1], size: 12, symbol: "diamond", line: { width: 1.5, color: "#fff" } },
          }] : []),
        ],
        layout: {
          xaxis: { title: { text: "Learning rate" }, type: "log", dtick: 1, exponentformat: "power" },
          yaxis: { title: { text: "Training loss" }, range: [0, 1.8 * data.smoothed[0]] },
        },
      };
    },

    history(data, colors) {
      if (!data.points.length) return null;
      const finished = data.points.filter((point) => point.state === "finished");
      const better = data.is_lower_better ? Math.min : Math.max;
      let reached = null;
      const best = finished.map((point) => (reached = reached === null ? point.score : better(reached, point.score)));
      return {
        traces: [
          ...trials(data.points, (point) => point.number, colors),
          { x: finished.map((point) => point.number), y: best, name: "Best so far", mode: "lines", line: { color: colors[1], width: 2, shape: "hv" }, hoverinfo: "skip" },
        ],
        layout: { xaxis: { title: { text: "Trial" }, tickformat: "d", ...(data.points.length > 10 ? {} : { dtick: 1 }) }, yaxis: { title: { text: data.metric } } },
      };
    },

    slice(data, colors) {
      if (!data.points.length) return null;
      const values = data.points.map((point) => point.values[data.name]);
      const isText = values.some((value) => typeof value !== "number");
      const isWide = Math.max(...values) > 100 * Math.min(...values);
      const axis = isText ? { type: "category" } : data.is_log ? { type: "log", exponentformat: "power", dtick: isWide ? 1 : "D2" } : {};
      const written = (value) => ({ true: "yes", false: "no" })[value] ?? value;
      return {
        traces: trials(data.points, (point) => written(point.values[data.name]), colors),
        layout: { height: 240, showlegend: false, xaxis: { title: { text: data.title }, ...axis }, yaxis: { title: { text: data.metric } } },
      };
    },

    importance(data, colors) {
      if (!data.weights.length) return null;
      const weights = [...data.weights].reverse(); // Plotly draws from below
      return {
        traces: [{ type: "bar", orientation: "h", y: weights.map((one) => one.title), x: weights.map((one) => one.share), marker: { color: colors[0] }, hovertemplate: "%{y}: %{x:.0%}<extra></extra>" }],
        layout: { height: 90 + 30 * weights.length, xaxis: { range: [0, 1], tickformat: ".0%" }, yaxis: { type: "category", automargin: true } },
      };
    },

    roc(data, colors) {
      const share = (text) => ({ title: { text }, range: [-0.01, 1.02], constrain: "domain" });
      return {
        traces: [
          { x: [0, 1], y: [0, 1], name: "Chance", mode: "lines", line: { color: "#888", dash: "dot", width: 1 }, hoverinfo: "skip" },
          {
            x: data.fpr, y: data.tpr, customdata: data.thresholds, name: "Model", mode: "lines",
            line: { color: colors[0], width: 2.5, shape: "linear" },
            hovertemplate: "sensitivity %{y:.3f}, false alarms %{x:.3f}, threshold %{customdata:.3f}<extra></extra>",
          },
          ...(data.point ? [{
            x: [data.point.fpr], y: [data.point.tpr], name: "Operating point", mode: "markers",
            marker: { color: colors[1], size: 12, symbol: "diamond", line: { width: 1.5, color: "#fff" } },
            hovertemplate: "sensitivity %{y:.3f}, specificity " + (1 - data.point.fpr).toFixed(3) + "<extra></extra>",
          }] : []),
        ],
        layout: { xaxis: share("1 − specificity"), yaxis: { ...share("Sensitivity"), scaleanchor: "x" } },
      };
    },

    rocs(data, colors) {
      const share = (text) => ({ title: { text }, range: [-0.01, 1.02], constrain: "domain" });
      return {
        traces: [
          { x: [0, 1], y: [0, 1], name: "Chance", mode: "lines", line: { color: "#888", dash: "dot", width: 1 }, hoverinfo: "skip" },
          ...data.lines.map((line, i) => ({
            x: line.fpr, y: line.tpr, name: label(line.name), mode: "lines", line: { color: colors[i], dash: DASHES[i], width: 2 },
            hovertemplate: "found %{y:.3f}, false alarms %{x:.3f}",
          })),
        ],
        layout: { height: 300 + 24 * data.lines.length, xaxis: share("1 − specificity"), yaxis: { ...share("Sensitivity"), scaleanchor: "x" } },
      };
    },

    calibration(data, colors) {
      const bins = data.bins.filter((bin) => bin.n > 0);
      const hasBounds = bins.every((bin) => bin.observed && bin.observed.low !== null); // not of earlier releases
      const most = Math.max(...bins.map((bin) => bin.n));
      return {
        traces: [
          { x: [0, 1], y: [0, 1], name: "Perfect", mode: "lines", line: { color: "#888", dash: "dot", width: 1 }, hoverinfo: "skip" },
          {
            x: bins.map((bin) => bin.mean_probability), y: bins.map((bin) => bin.frequency), customdata: bins.map((bin) => bin.n),
            name: "Model", mode: "lines+markers", line: { color: colors[0], width: 2 },
            marker: { size: bins.map((bin) => 6 + 12 * Math.sqrt(bin.n / most)) },
            ...(hasBounds && {
              error_y: {
                type: "data", symmetric: false, thickness: 1, width: 3, color: colors[5],
                array: bins.map((bin) => bin.observed.high - bin.frequency), arrayminus: bins.map((bin) => bin.frequency - bin.observed.low),
              },
            }),
            hovertemplate: "predicted %{x:.2f}, observed %{y:.2f}, %{customdata} images<extra></extra>",
          },
        ],
        layout: {
          xaxis: { title: { text: "Predicted probability" }, range: [-0.02, 1.02] },
          yaxis: { title: { text: "Observed frequency" }, range: [-0.04, 1.04] },
        },
      };
    },

    decision(data, colors) {
      const lines = [["Model", data.model, 2.5], ["Act on every image", data.treat_all, 1.5], ["Act on none", data.treat_none, 1.5]];
      const best = Math.max(...data.model, ...data.treat_all);
      const bound = { x: data.thresholds, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      const band = data.low?.length ? [{ ...bound, y: data.low }, { ...bound, y: data.high, fill: "tonexty", fillcolor: colors[0] + "30" }] : [];
      return {
        traces: [...band, ...lines.map(([name, y, width], i) => ({
          x: data.thresholds, y, name, mode: "lines", line: { color: colors[i], dash: DASHES[i], width },
          hovertemplate: name + ": %{y:.3f} at %{x:.0%}<extra></extra>",
        }))],
        layout: {
          xaxis: { title: { text: "Threshold probability" }, range: [0, 1], tickformat: ".0%" },
          yaxis: { title: { text: "Net benefit" }, range: [-0.25 * best, 1.1 * best] },
          legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
        },
      };
    },

    shares(data, colors) {
      return {
        traces: data.lines.map((line, i) => ({
          type: "bar", x: data.bins, y: line.values, name: line.name, marker: { color: colors[[5, 0, 1][i]] },
          hovertemplate: line.name + ": %{y:.1%} at %{x}<extra></extra>",
        })),
        layout: {
          xaxis: { title: { text: data.across } }, yaxis: { title: { text: "Images" }, tickformat: ".0%", rangemode: "tozero" },
          bargap: 0.25, barmode: "group",
        },
      };
    },

    risk(data, colors) {
      return {
        traces: [{
          x: data.coverage, y: data.risk, name: "Errors", mode: "lines", line: { color: colors[0], width: 2.5 },
          hovertemplate: "%{y:.1%} errors among the surest %{x:.0%}<extra></extra>",
        }],
        layout: {
          xaxis: { title: { text: "Images answered, surest first" }, range: [0, 1.01], tickformat: ".0%" },
          yaxis: { title: { text: "Errors among them" }, rangemode: "tozero", tickformat: ".0%" },
        },
      };
    },

    counts(data, colors) {
      const places = data.classes.map((_, i) => i);
      return {
        traces: ["train", "validation", "test"].map((split, i) => ({
          type: "bar", orientation: "h", y: places, x: data.classes.map((entry) => entry[split]),
          name: { train: "training", validation: "validation", test: "test" }[split], marker: { color: colors[i] },
          customdata: data.classes.map((entry) => label(entry.name)), hovertemplate: "%{customdata}: %{x}",
        })),
        layout: {
          barmode: "stack", legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" }, height: 110 + 26 * Math.min(places.length, 40),
          xaxis: { title: { text: "Images" } },
          yaxis: { autorange: "reversed", tickvals: places, ticktext: data.classes.map((entry) => label(entry.name)) },
        },
      };
    },
  };

  function draw(id, data) {
    const place = document.getElementById(id);
    if (!place) return;
    const theme = document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light";
    const chart = kinds[data.kind](data, COLORS[theme]);
    place.hidden = !chart;
    if (!chart) return;
    place.style.height = `${chart.layout.height ?? HEIGHT}px`; // Plotly asks the place for it when the window changes
    Plotly.react(place, chart.traces, layout(chart.layout, place), { displayModeBar: false, responsive: true });
    drawn.set(id, data);
  }

  function layout(own, place) {
    const style = getComputedStyle(document.body);
    const grid = style.getPropertyValue("--chart-grid");
    const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true };
    return {
      font: { family: style.fontFamily, size: 13, color: style.color },
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      margin: { l: 52, r: 12, t: 12, b: 44 }, height: own.height ?? HEIGHT,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      uirevision: place.id, // what a person zoomed into stays when new data comes
      ...own,
      xaxis: { ...axis, ...own.xaxis },
      yaxis: { ...axis, ...own.yaxis },
    };
  }

  function drawAll(root) {
    for (const source of root.querySelectorAll("script[data-chart-of]")) draw(source.dataset.chartOf, JSON.parse(source.textContent));
  }

  document.addEventListener("htmx:afterSettle", () => drawAll(document));
  document.addEventListener("toggle", (event) => { // what is folded away has no size yet
    for (const place of event.target.querySelectorAll?.(".js-plotly-plot") ?? []) Plotly.Plots.resize(place);
  }, true);
  document.addEventListener("themechange", () => { for (const [id, data] of drawn) draw(id, data); });
  drawAll(document);
})();
